"""Carries KV caches from replica to replica: hand-offs after the prompt, and live migrations."""

from collections.abc import Callable, Iterable
from typing import Literal

from simulator.clock import Clock
from simulator.cluster.deployment import Link
from simulator.cluster.flow import Flow
from simulator.cluster.link import Fabric
from simulator.replica.job import Job
from simulator.replica.replica import Replica

Kind = Literal["hand_off", "migration"]


class Transfer:
    """A job on its way; its blocks at the destination are set aside, or claimed."""

    __slots__ = ("destination", "flow", "job", "kind", "sent_bytes", "source", "start_s")

    def __init__(self, kind: Kind, job: Job, source: Replica, destination: Replica) -> None:
        self.kind = kind
        self.job = job
        self.source = source
        self.destination = destination
        self.flow: Flow | None = None  # the one in flight
        self.sent_bytes = 0.0  # by earlier ones
        self.start_s = 0.0


class KvTransfers:
    """The transfers in flight, and the record of those that are over."""

    def __init__(self, clock: Clock, link: Link, ports: int) -> None:
        self.clock = clock
        self.link = link
        self.fabric = Fabric(clock, ports, link.bytes_per_s, link.latency_s)
        self.in_flight: dict[Job, Transfer] = {}
        # request, kind, source, destination, start, end, bytes, whether it arrived
        self.done: list[tuple[int, Kind, int, int, float, float, float, bool]] = []

    def begin(self, kind: Kind, job: Job, source: Replica, destination: Replica) -> Transfer:
        """Note that a job is to go; nothing is sent yet."""
        transfer = self.in_flight[job] = Transfer(kind, job, source, destination)
        transfer.start_s = self.clock.now
        return transfer

    def send(
        self,
        transfer: Transfer,
        tokens: float,
        done: Callable[[Transfer], None] | None,
        cap_bytes_per_s: float = float("inf"),
    ) -> None:
        """Send the KV of so many tokens from now on; without ``done`` the flow stays open for more."""
        transfer.flow = self.fabric.send(
            transfer.source.index,
            transfer.destination.index,
            tokens * self.link.kv_bytes_per_token,
            None if done is None else lambda: done(transfer),
            cap_bytes_per_s=cap_bytes_per_s,
        )

    def extend(self, transfer: Transfer, tokens: float, done: Callable[[Transfer], None]) -> None:
        """Let an open flow end after so many tokens in all, as fast as the link goes."""
        assert transfer.flow is not None
        self.fabric.resize(transfer.flow, tokens * self.link.kv_bytes_per_token, done=lambda: done(transfer))

    def arrive(self, transfer: Transfer) -> None:
        """The last byte is there: the job goes on at its destination."""
        job, source, destination = transfer.job, transfer.source, transfer.destination
        self._write(transfer, arrived=True)
        source.engine.transfers.sent(job)
        source.wake()
        job.replica = destination
        job.target_tokens = job.output_tokens
        destination.engine.transfers.receive(job)
        destination.wake()

    def stay(self, job: Job, source: Replica) -> None:
        """Let a departing job go on where it is, to its end."""
        job.target_tokens = job.output_tokens
        source.engine.transfers.keep(job)
        source.wake()

    def cancel(self, job: Job) -> None:
        """Stop a transfer, if there is one; where the job goes on is the caller's to say."""
        transfer = self.in_flight.get(job)
        if transfer is not None:
            if transfer.flow is not None:
                self.fabric.cancel(transfer.flow)
            self._write(transfer, arrived=False)
            transfer.destination.engine.transfers.cancel(job)
            transfer.destination.wake()

    def touching(self, replica: Replica) -> Iterable[Transfer]:
        """Return the transfers from or to a replica."""
        return [each for each in self.in_flight.values() if replica in (each.source, each.destination)]

    def _write(self, transfer: Transfer, arrived: bool) -> None:
        del self.in_flight[transfer.job]
        sent = transfer.sent_bytes
        if transfer.flow is not None:
            sent += transfer.flow.sent_bytes
        self.done.append((
            transfer.job.id, transfer.kind, transfer.source.index, transfer.destination.index,
            transfer.start_s, self.clock.now, sent, arrived,
        ))  # fmt: skip
