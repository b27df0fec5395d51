"""How long GPUs take to exchange data: collectives inside a node and across nodes, by algorithm.

    time = start-up + steps inside·latency + steps across·latency + bytes on the slowest wire / its bandwidth

Ring and tree over several nodes are NCCL's own model (src/graph/tuning.cc of NCCL 2.19: ``baseLat`` and ``hwLat`` of
its LL and Simple protocols; LL sends a flag with each word, so half of the bandwidth is left). With n ranks, g of them
a node, N nodes and B bytes, each rank having a port of its own to the network:

    ring all-reduce        2(n - 1) steps, 2(N - 1) of them across; 2(n - 1)/n·B through a node
    ring all-gather, reduce-scatter        half of both
    tree all-reduce        2(g - 1) steps inside and 2·log2 N across; 2·B through a node
    one-shot, two-shot     inside a node: 1 step of (n - 1)·B, or 2 steps of 2(n - 1)/n·B (vLLM's custom_all_reduce)
    all-to-all             1 step: what goes inside and what goes across, at the same time

Inside a node an all-reduce of 2, 4 or 8 GPUs is what the GPU's profile has measured; its bandwidth stands for the
other collectives, too. Times over several nodes are not validated, but for the all-to-all: tests compare it with the
published times of DeepEP.
"""

from math import ceil, log2
from typing import Literal, NamedTuple

import numpy as np

from hardware_profiles.gpu import Gpu
from hardware_profiles.link import LinkProfile
from hardware_profiles.step_cost import TENSOR_PARALLEL, all_reduce_s
from simulator.errors import InputError

Algorithm = Literal["ring", "tree", "one-shot", "two-shot"]

# Seconds of NCCL 2.19, src/graph/tuning.cc; of each pair LL, Simple
_RING_START_S, _TREE_START_S = (6.6e-6, 8.4e-6), (6.8e-6, 8.4e-6)
_HOP_S = {"nvlink": (0.6e-6, 3.4e-6), "pcie": (1.0e-6, 5.7e-6)}
_RING_NET_S, _TREE_NET_S = (2.7e-6, 14.0e-6), (5.0e-6, 14.0e-6)
_LL_SHARE = 0.5  # of the bandwidth
_TREE_SHARE = 0.92  # of it, which a tree reaches
_PCIE_BYTES_PER_S = 64e9  # of 16 lanes of PCIe 5.0, one direction: what is faster is NVLink


class Group(NamedTuple):
    """Ranks that exchange data, ``per_node`` of them on each node; the last one may have fewer."""

    gpu: Gpu
    ranks: int
    per_node: int
    inside_bytes_per_s: float  # of one GPU, one direction
    across_bytes_per_s: float  # of one GPU's port
    across_latency_s: float

    @property
    def nodes(self) -> int:
        """Nodes that it spreads over."""
        return ceil(self.ranks / self.per_node)

    @property
    def ports(self) -> int:
        """Ports of a full node to others, one for each of its ranks."""
        return min(self.ranks, self.per_node)

    def all_reduce_s(self, size_bytes: float, algorithm: Algorithm | None = None) -> float:
        """Return the seconds of one all-reduce of so many bytes a rank: measured, or of the fastest algorithm."""
        n = self.ranks
        if n == 1:
            return 0.0
        if algorithm is None:
            if self.nodes == 1 and n in TENSOR_PARALLEL:
                return float(all_reduce_s(self.gpu, np.array([size_bytes]), n)[0])
            return min(self.all_reduce_s(size_bytes, each) for each in self.algorithms)
        if algorithm not in self.algorithms:
            raise InputError(f"{algorithm}: expected ring or tree over several nodes")
        if algorithm == "one-shot":
            return self.least_s + (n - 1) * size_bytes / self.inside_bytes_per_s
        if algorithm == "two-shot":
            return 2 * self.least_s + 2 * (n - 1) / n * size_bytes / self.inside_bytes_per_s
        return self._nccl_all_reduce(algorithm, size_bytes)[0]

    def all_reduce_across_s(self, size_bytes: float) -> float:
        """Return the seconds of an all-reduce in which the ports to other nodes send and receive, 0 on one node."""
        if self.nodes == 1:
            return 0.0
        _, wire_s = min(self._nccl_all_reduce(each, size_bytes) for each in self.algorithms)
        ports_bytes_per_s = self.ports * self.across_bytes_per_s
        return wire_s * min(1.0, self.inside_bytes_per_s / ports_bytes_per_s)

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """Those of an all-reduce that this group can run."""
        return ("ring", "tree", "one-shot", "two-shot") if self.nodes == 1 else ("ring", "tree")

    @property
    def least_s(self) -> float:
        """The shortest time of one step inside a node: a measured all-reduce of next to nothing."""
        return float(all_reduce_s(self.gpu, np.array([0.0]), 2)[0])

    def all_gather_s(self, size_bytes: float) -> float:
        """Return the seconds until every rank has all parts, ``size_bytes`` together."""
        if self.ranks == 1:
            return 0.0
        return self._ring(1, size_bytes)[0]

    def reduce_scatter_s(self, size_bytes: float) -> float:
        """Return the seconds until each rank has its part of the sum of ``size_bytes``: as an all-gather."""
        return self.all_gather_s(size_bytes)

    def all_to_all_s(self, size_bytes: float) -> float:
        """Return the seconds of one dispatch or combine.

        ``size_bytes`` is what the most loaded rank sends (or receives), evenly to all ranks and itself.
        """
        n, here = self.ranks, min(self.ranks, self.per_node)
        if n == 1:
            return 0.0
        inside_s = self.least_s + (here - 1) / n * size_bytes / self.inside_bytes_per_s
        if self.nodes == 1:
            return inside_s
        across_s = self.across_latency_s + (n - here) / n * size_bytes / self.across_bytes_per_s
        return max(inside_s, across_s)

    def send_s(self, size_bytes: float, across: bool) -> float:
        """Return the seconds of a message from one rank to one other, on its node or ``across``."""
        if across:
            return self.across_latency_s + size_bytes / self.across_bytes_per_s
        return self.least_s + size_bytes / self.inside_bytes_per_s

    def _nccl_all_reduce(self, algorithm: Algorithm, size_bytes: float) -> tuple[float, float]:
        """Return the seconds of a ring or a tree, and those of them in which bytes are on the slowest wire."""
        if algorithm == "ring":
            return self._ring(2, size_bytes)
        inside, across = 2 * (min(self.ranks, self.per_node) - 1), 2 * log2(self.nodes)
        return self._nccl(_TREE_START_S, inside, across, _TREE_NET_S, 2 * size_bytes / _TREE_SHARE)

    def _ring(self, rounds: int, size_bytes: float) -> tuple[float, float]:
        """Return the seconds of so many trips around the ring, each of all but the rank's own part; those on wires."""
        n, across = self.ranks, rounds * (self.nodes - 1)
        inside = rounds * (n - 1) - across
        return self._nccl(_RING_START_S, inside, across, _RING_NET_S, rounds * (n - 1) / n * size_bytes)

    def _nccl(
        self,
        start_s: tuple[float, float],
        inside: float,
        across: float,
        net_s: tuple[float, float],
        wire_bytes: float,
    ) -> tuple[float, float]:
        """Return the faster of LL and Simple, for so many steps and the bytes through a node; what the bytes take."""
        bandwidth = self.inside_bytes_per_s
        if self.nodes > 1:
            bandwidth = min(bandwidth, self.ports * self.across_bytes_per_s)
        hop_s = _HOP_S["nvlink" if self.inside_bytes_per_s > _PCIE_BYTES_PER_S else "pcie"]
        found = []
        for each, share in enumerate((_LL_SHARE, 1.0)):
            wire_s = wire_bytes / bandwidth / share
            found.append((start_s[each] + inside * hop_s[each] + across * net_s[each] + wire_s, wire_s))
        return min(found)


def group_of(gpu: Gpu, ranks: int, per_node: int = 8, link: LinkProfile | None = None) -> Group:
    """Return the group of ``ranks`` GPUs, ``per_node`` of them on each node and ``link`` between nodes.

    Raises InputError for a GPU whose profile has no ``[all_reduce]``, and for several nodes without a link.
    """
    if ranks < 1 or per_node < 1:
        raise InputError(f"expected at least one rank and one GPU a node, got {ranks} and {per_node}")
    measured = gpu.all_reduce
    if measured is None:
        raise InputError(f"{gpu.name} has no [all_reduce] in its profile; expected one GPU")
    if ranks > per_node and link is None:
        raise InputError(f"{ranks} ranks, {per_node} a node: expected a link between the nodes")
    # The bytes of a ring over the time of the largest all-reduce: what NCCL's tests call bus bandwidth
    size = measured.size_bytes[-1]
    here = min(each for each in (2, 4, 8) if each >= min(ranks, per_node, 8))
    inside = 2 * (here - 1) / here * size / float(all_reduce_s(gpu, np.array([size]), here)[0])
    if link is None:
        return Group(gpu, ranks, per_node, inside, inside, 0.0)
    port = link.port
    across = port.bandwidth_gb_s * 1e9 * port.achieved_share
    return Group(gpu, ranks, per_node, inside, across, port.latency_s)
