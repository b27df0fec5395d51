"""Carries KV caches from replica to replica: hand-offs after the prompt, and live migrations."""

from collections.abc import Callable, Iterable, Sequence
from math import inf, nan
from typing import Any, Literal

from simulator.clock import Clock, before_turn
from simulator.cluster.deployment import Link, Wires
from simulator.cluster.flow import Flow
from simulator.cluster.link import Fabric
from simulator.cluster.shared_wires import SharedFabric, StepsAtPort
from simulator.cluster.slowable import WiredCost
from simulator.replica.job import Job
from simulator.replica.replica import Replica

Kind = Literal["hand_off", "migration"]
Life = tuple[int, int]  # a replica's number, and how often it has lost its memory


class Transfer:
    """A job on its way; its blocks at the destination are asked for, set aside, or claimed. Times in seconds."""

    __slots__ = (
        "cached_tokens", "connected_s", "descriptors", "destination", "flows", "granted_s", "job", "kind",
        "over", "prefill_end_s", "routed_s", "sent_bytes", "source", "start_s", "tokens",
    )  # fmt: skip

    def __init__(self, kind: Kind, job: Job, source: Replica, destination: Replica, start_s: float) -> None:
        """Begin at ``start_s`` with nothing sent."""
        self.over: Callable[[Transfer], None] | None = None  # called when it is
        self.kind = kind
        self.job = job
        self.source = source
        self.destination = destination
        self.start_s = start_s
        self.tokens = 0  # whose KV is to be there in the end
        self.cached_tokens = 0  # of those, what the destination had already
        self.flows: list[Flow] = []  # those in flight
        self.sent_bytes = 0.0  # by those that are over
        self.descriptors = 0  # pieces of memory that a rank has posted
        # Of a hand-off: when its prompt was computed, the decode replica had the request and blocks for it,
        # and the two were connected
        self.prefill_end_s = self.routed_s = self.granted_s = self.connected_s = nan


class KvTransfers:
    """The transfers in flight, and the record of those that are over."""

    def __init__(
        self,
        clock: Clock,
        link: Link,
        ranks: Sequence[int],
        strangers: Iterable[int] = (),
        *,
        shared: bool = False,
    ) -> None:
        """``ranks`` is how many GPUs each replica has, each with a port of its own.

        ``strangers`` are replicas that come after the others have been connected; ``shared``: steps use ports, too.
        """
        self.clock = clock
        self.link = link
        self.ranks = ranks
        kind = SharedFabric if shared else Fabric
        self.fabric: Fabric = kind(clock, len(ranks), [link.bytes_per_s * n for n in ranks], link.latency_s)
        self.in_flight: dict[Job, Transfer] = {}
        self.done: list[Any] = []  # those that are over: what is noted of one after what is noted of another
        self._strangers = set(strangers)
        self._met: dict[tuple[Life, Life], float] = {}  # when two are connected, of those that were not

    def share_wires(self, replicas: Sequence[Replica], on_wires_s: Sequence[Wires | None]) -> None:
        """Let the steps of replicas share their ports, of those that are on wires for some time."""
        fabric = self.fabric
        assert isinstance(fabric, SharedFabric)
        for replica, wires in zip(replicas, on_wires_s, strict=True):
            if wires is not None:
                cost = replica.cost
                assert isinstance(cost, WiredCost)
                cost.at_port = StepsAtPort(self.clock, fabric, replica, wires)
                fabric.connect(cost.at_port)

    def begin(
        self,
        kind: Kind,
        job: Job,
        source: Replica,
        destination: Replica,
        over: Callable[[Transfer], None] | None = None,
    ) -> Transfer:
        """Note that a job is to go; nothing is sent yet. ``over`` is called when it has arrived or is called off."""
        transfer = self.in_flight[job] = Transfer(kind, job, source, destination, self.clock.now)
        transfer.over = over
        return transfer

    def later(self, transfer: Transfer, time_s: float, then: Callable[[Transfer], None]) -> None:
        """Call ``then`` at a time, at once if that is now, unless the transfer has been called off by then."""
        if time_s <= self.clock.now:
            then(transfer)
            return
        self.clock.call_at(time_s, self._go_on, (transfer, then))

    def before_turn(self, transfer: Transfer, time_s: float, then: Callable[[Transfer], None]) -> None:
        """Call ``then`` at a time, right before the turn of its destination, unless it has been called off by then."""
        self.clock.call_at(time_s, self._go_on, (transfer, then), before_turn(transfer.destination.index))

    def _go_on(self, waiting: tuple[Transfer, Callable[[Transfer], None]]) -> None:
        """It is the time that a transfer was to wait for, unless it has been called off."""
        transfer, then = waiting
        if self.in_flight.get(transfer.job) is transfer:
            then(transfer)

    def connected_s(self, transfer: Transfer) -> float:
        """Return when the two replicas are connected; if they never were, they begin now."""
        link, now_s = self.link, self.clock.now
        source, destination = transfer.source, transfer.destination
        met = link.connected and not (source.past or destination.past)
        if met and self._strangers:
            met = self._strangers.isdisjoint((source.index, destination.index))
        if met or not link.handshake_s:
            return now_s
        pair = _life(source), _life(destination)
        return max(now_s, self._met.setdefault(pair, now_s + link.handshake_s))

    def send(
        self,
        transfer: Transfer,
        tokens: int,
        done: Callable[[Transfer], None] | None,
        share: float = 1.0,
        cap_bytes_per_s: float = inf,
    ) -> Flow:
        """Send the KV of so many tokens from now on, or a share of it; without ``done`` the flow stays open for more.

        It begins when its descriptors have been posted, one for each piece of memory that lies in one:
        time = set-up + descriptors x time of one + bytes / rate.
        """
        link, source, destination = self.link, transfer.source.index, transfer.destination.index
        ranks = self.ranks[source], self.ranks[destination]
        blocks = -(-tokens // transfer.source.block_size)
        # A rank on the side with fewer has a piece for each rank on the other that holds a part of its heads.
        descriptors = blocks * link.descriptors_per_block * max(ranks) // min(ranks)
        transfer.descriptors += descriptors
        flow = self.fabric.send(
            source,
            destination,
            tokens * link.kv_bytes_per_token * share,
            None if done is None else lambda: self._sent(transfer, flow, done),
            cap_bytes_per_s=cap_bytes_per_s,
            after_s=link.setup_s + link.descriptor_s * descriptors,
        )
        transfer.flows.append(flow)
        return flow

    def close(self, transfer: Transfer, flow: Flow, tokens: int, done: Callable[[Transfer], None]) -> None:
        """Let an open flow end after so many tokens in all, as fast as the link goes."""
        size_bytes = float(tokens * self.link.kv_bytes_per_token)
        self.fabric.resize(flow, size_bytes, done=lambda: self._sent(transfer, flow, done))

    def arrive(self, transfer: Transfer) -> None:
        """The last byte is there: the job goes on at its destination, with its last known token."""
        job, source, destination = transfer.job, transfer.source, transfer.destination
        self._write(transfer, arrived=True)
        source.engine.transfers.sent(job)
        source.wake()
        job.replica = destination
        job.target_tokens = job.output_tokens
        job.computed = job.known_tokens - 1
        takes_seat = transfer.kind == "migration" or destination.policy.seats_what_comes()
        destination.engine.transfers.receive(job, takes_seat=takes_seat)
        destination.wake()

    def stay(self, job: Job, source: Replica, *, takes_seat: bool = True) -> None:
        """Let a departing job go on where it is, to its end: with the next seat, or from the queue."""
        job.target_tokens = job.output_tokens
        job.computed = job.known_tokens - 1
        source.engine.transfers.keep(job, takes_seat=takes_seat)
        source.wake()

    def drop(self, transfer: Transfer) -> None:
        """Forget a transfer of which nothing was sent; where the job goes on is the caller's to say."""
        del self.in_flight[transfer.job]
        transfer.destination.engine.transfers.cancel(transfer.job)

    def cancel(self, job: Job) -> None:
        """Stop a transfer, if there is one; where the job goes on is the caller's to say."""
        transfer = self.in_flight.get(job)
        if transfer is not None:
            for flow in transfer.flows:
                self.fabric.cancel(flow)
                transfer.sent_bytes += flow.sent_bytes
            self._write(transfer, arrived=False)
            transfer.destination.engine.transfers.cancel(job)
            transfer.destination.wake()

    def touching(self, replica: Replica) -> Iterable[Transfer]:
        """Return the transfers from or to a replica."""
        return [each for each in self.in_flight.values() if replica in (each.source, each.destination)]

    def _sent(self, transfer: Transfer, flow: Flow, done: Callable[[Transfer], None]) -> None:
        transfer.flows.remove(flow)
        transfer.sent_bytes += flow.sent_bytes
        done(transfer)

    def _write(self, transfer: Transfer, arrived: bool) -> None:
        job = transfer.job
        # Of one that is called off a step may be in flight, or not, which is planned when it is looked at
        in_flight = 0 if arrived else transfer.source.undelivered_tokens(job)
        del self.in_flight[job]
        if transfer.over is not None:
            transfer.over(transfer)
        self.done.extend((
            job.id, transfer.kind, transfer.source.index, transfer.destination.index, transfer.start_s,
            transfer.prefill_end_s, transfer.routed_s, transfer.granted_s, transfer.connected_s,
            self.clock.now, transfer.sent_bytes, transfer.descriptors, transfer.cached_tokens,
            job.generated_tokens - in_flight, arrived,
        ))  # fmt: skip


def _life(replica: Replica) -> Life:
    return replica.index, len(replica.past)
