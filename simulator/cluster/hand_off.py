"""Prefill replicas hand requests over to decode replicas: where to, when, and what if there is no room."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf, isnan

from simulator.cluster.deployment import HandOff
from simulator.cluster.early_sends import EarlySends
from simulator.cluster.kv_transfers import KvTransfers, Transfer
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState
from simulator.replica.transfers import BlockRequest


class HandOffs:
    """Takes jobs whose prompts the prefill side has computed to the decode side.

    The decode replica has the request a routing hop later. It sets blocks aside when it next plans a step and has a
    seat free, and pulls. The source holds its own blocks until the last byte is there, or the time-out. Source: vLLM,
    distributed/kv_transfer/kv_connector/v1/nixl_connector.py, and WAITING_FOR_REMOTE_KVS in v1/core/sched/scheduler.py.
    """

    def __init__(
        self,
        rule: HandOff,
        kv_transfers: KvTransfers,
        decoders: Callable[[], Sequence[Replica]],
        choose: Callable[[Job, Sequence[Replica]], Replica],
    ) -> None:
        """``decoders`` are the decode replicas that are up; ``choose`` applies the rule's router."""
        self.rule = rule
        self.kv_transfers = kv_transfers
        self.decoders = decoders
        self.choose = choose
        self.stranded: list[tuple[Job, Replica]] = []  # no decode replica is up
        # Whether blocks may be set aside right before a plan, not in it: what took no time would be in that plan then
        takes_time = kv_transfers.link.latency_s + kv_transfers.link.setup_s > 0
        self._asks_late = rule.when_full == "wait" and not rule.early and takes_time
        self.early = EarlySends(rule, kv_transfers, decoders, choose)
        self._held: deque[tuple[float, Job, Replica]] = deque()  # until when blocks are held at a source

    def offer(self, job: Job, source: Replica) -> None:
        """A job's part at the source is done, and its KV is there: find a place where it goes on."""
        rule, kv_transfers = self.rule, self.kv_transfers
        if rule.early and self.early.finish(job):
            return
        if rule.hold_s < inf:
            self._hold(job, source)
        decoders = self.decoders()
        if not decoders:
            self.stranded.append((job, source))
            return
        destination = self.choose(job, decoders)
        if destination is source:  # it has changed its role
            self._stay(job, source)
            return
        transfer = kv_transfers.begin("hand_off", job, source, destination)
        transfer.tokens = job.known_tokens - 1
        transfer.prefill_end_s = transfer.start_s
        destination.expect(job)
        kv_transfers.later(transfer, transfer.start_s + rule.routing_s, self._routed)

    def forget(self, job: Job) -> None:
        """A job does not go anywhere any more."""
        self.early.forget(job)
        self.stranded = [pair for pair in self.stranded if pair[0] is not job]

    def find_places(self) -> None:
        """A decode replica is up again: offer it what could not go anywhere."""
        stranded, self.stranded = self.stranded, []
        for job, source in stranded:
            self.offer(job, source)

    def computed(self, source: Replica, chunks: Mapping[Job, int], start_s: float, end_s: float) -> None:
        """A step is planned that computes these tokens of prompts: what is sent early is sent meanwhile."""
        self.early.look(source, chunks, start_s, end_s)

    def _routed(self, transfer: Transfer) -> None:
        """The decode replica has the request: have it asked for blocks, or do what is done without room."""
        job, source, destination = transfer.job, transfer.source, transfer.destination
        transfer.routed_s = self.kv_transfers.clock.now
        engine, rule = destination.engine, self.rule.when_full
        incoming = engine.transfers
        if incoming.blocks_to_receive(job, transfer.tokens + 1) > engine.total_blocks:
            self.kv_transfers.drop(transfer)
            self._end(job, source)
            return
        if self._asks_late and (grants_s := destination.grants_s()) < inf:
            self.kv_transfers.before_turn(transfer, grants_s, self._ask)
            return
        waits = rule in ("wait", "evict")
        if waits or incoming.reserve(job, transfer.tokens, sharing=True):
            # What is not even computed yet must not be in the way
            on_short = partial(self.early.call_off, destination) if self.rule.early else None
            incoming.request(BlockRequest(job, transfer.tokens, rule == "evict", self._granted, on_short))
            destination.wake()
            return
        self.kv_transfers.drop(transfer)
        if rule == "colocate":
            self._stay(job, source)
        else:
            self._recompute(job, source, destination)

    def _ask(self, transfer: Transfer) -> None:
        """The decode replica is about to plan and has nothing else to settle: set blocks aside now if there are any."""
        job, engine = transfer.job, transfer.destination.engine
        incoming = engine.transfers
        if (
            engine.seats > 0
            and not incoming.requests
            and incoming.reserve(job, transfer.tokens, sharing=True)
        ):
            self._granted(job, 0)
        else:
            incoming.request(BlockRequest(job, transfer.tokens, False, self._granted))
            transfer.destination.wake()

    def _granted(self, job: Job, cached_tokens: int) -> None:
        """Blocks are set aside: connect, and pull what is not there."""
        transfer = self.kv_transfers.in_flight[job]
        transfer.cached_tokens = cached_tokens
        transfer.granted_s = self.kv_transfers.clock.now
        self.kv_transfers.later(transfer, self.kv_transfers.connected_s(transfer), self._pull)

    def _pull(self, transfer: Transfer) -> None:
        transfer.connected_s = self.kv_transfers.clock.now
        self.kv_transfers.send(transfer, transfer.tokens - transfer.cached_tokens, self.kv_transfers.arrive)

    # What is held too long

    def _hold(self, job: Job, source: Replica) -> None:
        """Hold a job's blocks at the source until it is pulled, or for as long as the rule says."""
        clock = self.kv_transfers.clock
        self._held.append((clock.now + self.rule.hold_s, job, source))
        if len(self._held) == 1:
            clock.at(self._held[0][0]).callbacks.append(self._look_at_held)

    def _look_at_held(self, _: object) -> None:
        """Free what has been held too long, and look again when the next one is due."""
        clock, held = self.kv_transfers.clock, self._held
        while held:
            until_s, job, source = held[0]
            if job.replica is source and job.state is JobState.SENDING and self._waits(job):
                if until_s > clock.now:
                    clock.at(until_s).callbacks.append(self._look_at_held)
                    return
                self._expire(job, source)
            held.popleft()

    def _waits(self, job: Job) -> bool:
        """Whether a job that is to go is not being pulled yet."""
        transfer = self.kv_transfers.in_flight.get(job)
        return transfer is None or isnan(transfer.granted_s)

    def _expire(self, job: Job, source: Replica) -> None:
        """The source frees a job's blocks: it is computed again where it was to go, or fails."""
        transfer = self.kv_transfers.in_flight.get(job)
        self.kv_transfers.cancel(job)
        self.forget(job)
        if self.rule.when_expired == "recompute" and transfer is not None:
            self._recompute(job, source, transfer.destination)
        else:
            self._end(job, source)

    def _recompute(self, job: Job, source: Replica, destination: Replica) -> None:
        """Free a job's blocks at the source and have all of it computed where it was to go."""
        source.engine.transfers.sent(job)
        source.wake()
        job.lose_cache()
        job.target_tokens = job.output_tokens
        job.move(JobState.UNPLACED)
        destination.submit(job)

    def _stay(self, job: Job, source: Replica) -> None:
        """Let a job decode where it is; its first token, if it has none yet, is computed like others in the queue."""
        self.kv_transfers.stay(job, source, takes_seat=self.rule.first_token == "prefill")

    def _end(self, job: Job, source: Replica) -> None:
        source.engine.transfers.end_in_transit(job, RequestState.FAILED, self.kv_transfers.clock.now)
        source.wake()
