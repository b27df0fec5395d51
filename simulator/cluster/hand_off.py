"""Prefill replicas hand requests over to decode replicas: where to, when, and what if there is no room."""

from collections.abc import Callable, Sequence

from simulator.cluster.deployment import HandOff
from simulator.cluster.kv_transfers import KvTransfers, Transfer
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState
from simulator.replica.transfers import BlockRequest


class HandOffs:
    """Takes jobs whose first token the prefill side has computed to the decode side.

    The source holds the KV cache until all of it has been copied. Blocks at the destination are set aside
    before the first byte is sent.
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
        self._early: dict[Job, Transfer] = {}  # sent layer by layer while their prompts are computed

    def offer(self, job: Job, source: Replica) -> None:
        """A job's part at the source is done, and its KV is there: find a place where it goes on."""
        early = self._early.pop(job, None)
        if early is not None:
            if early.flow is None:
                self.kv_transfers.send(early, job.known_tokens - 1, self.kv_transfers.arrive)
            else:
                self.kv_transfers.extend(early, job.known_tokens - 1, self.kv_transfers.arrive)
            return
        decoders = self.decoders()
        if not decoders:
            self.stranded.append((job, source))
            return
        destination = self.choose(job, decoders)
        if destination is source:  # it has changed its role
            self.kv_transfers.stay(job, source)
            return
        incoming = destination.engine.transfers
        if incoming.blocks_to_receive(job) > destination.total_blocks:
            source.engine.transfers.end_in_transit(job, RequestState.FAILED, self.kv_transfers.clock.now)
        elif not incoming.requests and incoming.reserve(job):
            self._send(self.kv_transfers.begin("hand_off", job, source, destination))
        elif self.rule.when_full == "recompute":
            source.engine.transfers.sent(job)
            job.lose_cache()
            job.target_tokens = job.output_tokens
            job.move(JobState.UNPLACED)
            destination.submit(job)
        elif self.rule.when_full == "colocate":
            self.kv_transfers.stay(job, source)
        else:
            self.kv_transfers.begin("hand_off", job, source, destination)
            incoming.request(BlockRequest(job, self.rule.when_full == "evict", self._granted))
            destination.wake()

    def forget(self, job: Job) -> None:
        """A job does not go anywhere any more."""
        self._early.pop(job, None)
        self.stranded = [pair for pair in self.stranded if pair[0] is not job]

    def find_places(self) -> None:
        """A decode replica is up again: offer it what could not go anywhere."""
        stranded, self.stranded = self.stranded, []
        for job, source in stranded:
            self.offer(job, source)

    def look_ahead(self, source: Replica, completing: Sequence[Job], start_s: float, end_s: float) -> None:
        """A step is planned that computes prompts to their ends: send their KV layer by layer meanwhile."""
        decoders = self.decoders()
        for job in completing:
            if job.generated >= job.output_tokens or not decoders:
                continue
            destination = self.choose(job, decoders)
            incoming = destination.engine.transfers
            if destination is source or incoming.requests or not incoming.reserve(job):
                continue  # it is offered again when its prompt is computed
            transfer = self._early[job] = self.kv_transfers.begin("hand_off", job, source, destination)
            self._send_early(transfer, start_s, end_s)

    def _send_early(self, transfer: Transfer, start_s: float, end_s: float) -> None:
        layers, tokens = self.rule.layers, transfer.job.known_tokens - 1
        clock, kv = self.kv_transfers.clock, self.kv_transfers.link.kv_bytes_per_token
        lasts_s = end_s - start_s
        first_layer_s = start_s + lasts_s / layers
        if layers > 1 and lasts_s > 0 and self.kv_transfers.clock.now <= first_layer_s < end_s:

            def begin(_: object) -> None:
                if self._early.get(transfer.job) is transfer:
                    # All but the last layer, which is there when the step ends, as fast as they are computed
                    self.kv_transfers.send(
                        transfer, tokens * (layers - 1) / layers, None, tokens * kv / lasts_s
                    )

            clock.at(first_layer_s).callbacks.append(begin)

        def look(_: object) -> None:
            if self._early.get(transfer.job) is transfer:  # its prompt did not come to its end
                self.kv_transfers.cancel(transfer.job)
                del self._early[transfer.job]

        clock.last_at(end_s).callbacks.append(look)

    def _granted(self, job: Job) -> None:
        transfer = self.kv_transfers.in_flight[job]
        self._send(transfer)

    def _send(self, transfer: Transfer) -> None:
        self.kv_transfers.send(transfer, transfer.job.known_tokens - 1, self.kv_transfers.arrive)
