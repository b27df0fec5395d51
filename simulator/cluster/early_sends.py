"""KV that is sent before its prompt is computed to the end: chunk by chunk, or layer by layer within each chunk."""

from collections.abc import Callable, Mapping, Sequence

from simulator.cluster.deployment import HandOff
from simulator.cluster.flow import Flow
from simulator.cluster.kv_transfers import KvTransfers, Transfer
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica


class Chunk:
    """Tokens that one step computes; with asynchronous scheduling the next step's are planned meanwhile."""

    __slots__ = ("computed", "flow", "tokens")

    def __init__(self, tokens: int) -> None:
        """Have nothing sent."""
        self.tokens = tokens
        self.flow: Flow | None = None  # of the first layers
        self.computed = False


class EarlySend:
    """A transfer of a prompt that is still being computed."""

    __slots__ = ("complete", "last", "preemptions", "transfer")

    def __init__(self, transfer: Transfer) -> None:
        """Begin with nothing sent."""
        self.transfer = transfer
        self.preemptions = (
            transfer.job.preemptions
        )  # when it began; one more, and its chunks are computed anew
        self.last = Chunk(0)  # that was planned
        self.complete = False  # whether all of it is computed


class EarlySends:
    """Sends chunks as they are done: Qin et al., "Mooncake", FAST 2025, section 5.2; SGLang's KVSender.

    The decode replica sets blocks aside for all of the prompt before its first chunk is sent. If it has no room then,
    or another request waits for room there, nothing of it is sent early.
    """

    def __init__(
        self,
        rule: HandOff,
        kv_transfers: KvTransfers,
        decoders: Callable[[], Sequence[Replica]],
        choose: Callable[[Job, Sequence[Replica]], Replica],
    ) -> None:
        """As for ``HandOffs``."""
        self.rule = rule
        self.kv_transfers = kv_transfers
        self.decoders = decoders
        self.choose = choose
        self._sends: dict[Job, EarlySend] = {}

    def look(self, source: Replica, chunks: Mapping[Job, int], start_s: float, end_s: float) -> None:
        """A step is planned from ``start_s`` to ``end_s`` that computes so many tokens of these jobs."""
        for job, send in list(self._sends.items()):
            if send.transfer.source is source and self._outdated(send):
                self._call_off(job)
        dropped = source.engine.dropped  # which end with their next token
        for job, tokens in chunks.items():
            if job.target_tokens < job.output_tokens and job.replica is source and job not in dropped:
                begun = self._sends.get(job) or self._begin(source, job, job.computed - tokens)
                if begun is not None:
                    self._send_chunk(begun, tokens, start_s, end_s)

    def finish(self, job: Job) -> bool:
        """A prompt is computed to its end: send the rest of it; False if it is not sent early."""
        send = self._sends.get(job)
        if send is None or self._outdated(send):
            self._call_off(job)
            return False
        transfer, now_s = send.transfer, self.kv_transfers.clock.now
        transfer.prefill_end_s = transfer.routed_s = transfer.granted_s = transfer.connected_s = now_s
        send.complete = True
        self._computed(send, send.last)
        return True

    def forget(self, job: Job) -> None:
        """A job does not go anywhere any more; its transfer is called off."""
        self._sends.pop(job, None)

    def call_off(self, destination: Replica) -> None:
        """Another job waits for blocks at a replica: give back those of prompts that are not computed yet."""
        for job, send in list(self._sends.items()):
            if send.transfer.destination is destination and not send.complete:
                self._call_off(job)

    def _call_off(self, job: Job) -> None:
        if self._sends.pop(job, None) is not None:
            self.kv_transfers.cancel(job)

    def _outdated(self, send: EarlySend) -> bool:
        """Whether a job has left the source's running ones since its first chunk was sent."""
        job = send.transfer.job
        there = job.state in (JobState.RUNNING, JobState.SENDING) and job.replica is send.transfer.source
        return not (there and job.preemptions == send.preemptions)

    def _begin(self, source: Replica, job: Job, cached_tokens: int) -> EarlySend | None:
        """Find a place for a job, and send what is computed of it so far."""
        decoders = self.decoders()
        if not decoders:
            return None
        destination = self.choose(job, decoders)
        incoming = destination.engine.transfers
        tokens = job.known_tokens - job.completing - (self.rule.first_token == "decode")
        if destination is source or not tokens or not incoming.room_for(job, tokens):
            return None  # it is offered again when its prompt is computed
        incoming.reserve(job, tokens)
        transfer = self.kv_transfers.begin("hand_off", job, source, destination)
        transfer.tokens = tokens
        send = self._sends[job] = EarlySend(transfer)
        if cached_tokens:
            self.kv_transfers.send(transfer, cached_tokens, self._sent)
        return send

    def _send_chunk(self, send: EarlySend, tokens: int, start_s: float, end_s: float) -> None:
        """Send a chunk of a step that has just been planned: its first layers meanwhile, the rest when it ends."""
        clock, kv_transfers, transfer = self.kv_transfers.clock, self.kv_transfers, send.transfer
        chunk = send.last = Chunk(tokens)
        layers, lasts_s = self.rule.layers, end_s - start_s
        first_layer_s = start_s + lasts_s / layers if layers else end_s
        if layers > 1 and clock.now <= first_layer_s < end_s:
            rate = tokens * kv_transfers.link.kv_bytes_per_token / lasts_s

            def begin(_: object) -> None:
                # All but the last layer, which is there when the step ends, as fast as they are computed
                if self._sends.get(transfer.job) is send and not chunk.computed:
                    chunk.flow = kv_transfers.send(transfer, tokens, None, (layers - 1) / layers, rate)

            clock.at(first_layer_s).callbacks.append(begin)
        if transfer.job.completing:
            return  # ``finish`` is called when the step ends

        def end(_: object) -> None:
            if self._sends.get(transfer.job) is send and not self._outdated(send):
                self._computed(send, chunk)

        clock.last_at(end_s).callbacks.append(end)

    def _computed(self, send: EarlySend, chunk: Chunk) -> None:
        """A chunk is computed to its last layer."""
        chunk.computed = True
        if chunk.flow is not None:
            self.kv_transfers.close(send.transfer, chunk.flow, chunk.tokens, self._sent)
        else:
            self.kv_transfers.send(send.transfer, chunk.tokens, self._sent)

    def _sent(self, transfer: Transfer) -> None:
        """A part is there; with the last one of a prompt that is computed, the job goes on."""
        send = self._sends.get(transfer.job)
        if send is not None and send.complete and not transfer.flows:
            del self._sends[transfer.job]
            self.kv_transfers.arrive(transfer)
