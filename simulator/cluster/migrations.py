"""Live migration: a request's KV is copied while it decodes, and it stops only for the last tokens.

Source of the mechanism: Sun et al., "Llumnix", OSDI 2024, section 4.2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulator.cluster.answers import moves_of
from simulator.cluster.deployment import MoveCosts
from simulator.cluster.kv_transfers import KvTransfers, Transfer
from simulator.cluster.policy import Migration, Move
from simulator.cluster.slowable import reprice
from simulator.replica.job import Job
from simulator.replica.replica import Replica

LAST_TOKENS = 16  # copied while the request stands still
MOST_STAGES = 8  # after which it stands still for whatever is left


@dataclass
class Copy:
    """How far a request's KV has been copied."""

    preemptions: int  # of the request when it began; one more, and the copy is worth nothing
    tokens: int = 0
    stages: int = 0


class Migrations:
    """Asks the policy for moves, and carries them out stage by stage."""

    def __init__(
        self,
        policy: Migration,
        costs: MoveCosts,
        kv_transfers: KvTransfers,
        replicas: Callable[[], Sequence[Replica]],
    ) -> None:
        """``replicas`` are those that are up and decode."""
        self.policy = policy
        self.costs = costs
        self.kv_transfers = kv_transfers
        self.replicas = replicas
        self._copies: dict[Job, Copy] = {}

    def look(self, now_s: float) -> None:
        """Begin the moves that the policy wants now, as far as the destinations have room."""
        replicas = self.replicas()
        if len(replicas) < 2:
            return
        for move in moves_of(self.policy, self.policy.moves(replicas, now_s), replicas):
            self._begin(move, replicas)

    def evacuate(self, source: Replica, destinations: Sequence[Replica]) -> None:
        """Begin to move the jobs that decode on a replica to where most KV blocks are free, as far as there is room.

        Nothing where the policy does that itself.
        """
        if getattr(self.policy, "drains", False):
            return
        for job in list(source.running) if destinations else ():
            roomiest = max(destinations, key=lambda each: each.free_blocks)
            self._begin(Move(job, 0, 1), (source, roomiest))

    def _begin(self, move: Move, replicas: Sequence[Replica]) -> None:
        job, source, destination = move.job, replicas[move.source], replicas[move.destination]
        if (
            source is destination
            or destination.draining
            or job in self.kv_transfers.in_flight
            or not self._decodes(job, source)
        ):
            return
        if any(each is job for each, _ in source.engine.transfers.detaching):
            return
        incoming = destination.engine.transfers
        if incoming.requests or not incoming.reserve(job, job.known_tokens - 1):
            return
        self._copies[job] = Copy(job.preemptions)
        transfer = self.kv_transfers.begin("migration", job, source, destination, self._over)
        self._slow(transfer, 1)
        self._shake_hands(transfer)

    def _over(self, transfer: Transfer) -> None:
        """A move has arrived or was called off."""
        self._slow(transfer, -1)
        del self._copies[transfer.job]

    def _slow(self, transfer: Transfer, copies: int) -> None:
        """Let so many more copies take their share of both sides' GPUs."""
        if self.costs.gpu_share:
            for replica in (transfer.source, transfer.destination):
                reprice(replica, copies=copies)

    def _shake_hands(self, transfer: Transfer) -> None:
        """The two sides agree on the blocks of the next stage."""
        clock = self.kv_transfers.clock
        self.kv_transfers.later(transfer, clock.now + self.costs.handshake_s, self._next_stage)

    def _copy(self, transfer: Transfer) -> None:
        """Copy what has been computed meanwhile; the request goes on decoding."""
        job = transfer.job
        copy = self._copies[job]
        undelivered = transfer.source.undelivered_tokens(job)
        computed = job.computed_tokens - undelivered
        missing = computed - copy.tokens
        copy.tokens = computed
        copy.stages += 1
        self.kv_transfers.send(transfer, missing, self._shake_hands)

    def _next_stage(self, transfer: Transfer) -> None:
        job, source, incoming = transfer.job, transfer.source, transfer.destination.engine.transfers
        copy = self._copies[job]
        gone = not self._decodes(job, source) or job.preemptions != copy.preemptions
        if gone or not incoming.reserve(job, job.known_tokens - 1):
            self.kv_transfers.cancel(job)
        elif not copy.stages or (
            job.computed_tokens - copy.tokens > LAST_TOKENS and copy.stages < MOST_STAGES
        ):
            self._copy(transfer)
        else:
            source.engine.transfers.detach(job, self._stopped)
            source.wake()

    def _stopped(self, job: Job, there: bool) -> None:
        """The request has left the source's running ones, or is not there any more."""
        transfer = self.kv_transfers.in_flight.get(job)
        if transfer is None:
            if there:  # called off meanwhile
                self.kv_transfers.stay(job, job.replica)
        elif not there:
            self.kv_transfers.cancel(job)
        else:
            in_flight = transfer.source.in_flight
            # With asynchronous scheduling a step with its last token here may still be in flight.
            ready_s = in_flight[-1][0] if in_flight else transfer.source.engine.now_s
            rest_s = max(ready_s, self.kv_transfers.clock.now) + self.costs.handshake_s
            self.kv_transfers.clock.at(rest_s).callbacks.append(lambda _: self._send_rest(transfer))

    def _send_rest(self, transfer: Transfer) -> None:
        job = transfer.job
        if self.kv_transfers.in_flight.get(job) is transfer:
            self.kv_transfers.send(
                transfer, job.computed_tokens - self._copies[job].tokens, self.kv_transfers.arrive
            )

    @staticmethod
    def _decodes(job: Job, source: Replica) -> bool:
        return job in source.engine.running and job.group is not None
