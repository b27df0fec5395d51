"""What one simulated server did with a workload: when each request arrived, got its first token and its last one.

The token trace is not unfolded, which makes five million tokens a run affordable.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardware_profiles import HardwareCost
from policies.routing.round_robin import RoundRobin
from simulator.arrays import Columns, Floats
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import assemble, play
from simulator.errors import StallError
from simulator.policy import Router, Scheduler
from simulator.replica.kv_tier import TiersPlan
from simulator.replica.limits import Limits
from simulator.replica.rules import EngineRules
from simulator.results.recorded import ended_rows, prompt_end_rows
from simulator.results.tables import Incarnation, split_by_replica, step_table
from simulator.workload.workload import Workload


@dataclass(frozen=True)
class Server:
    """What a simulation needs beside its traffic."""

    cost: HardwareCost
    limits: Limits
    scheduler: Callable[[], Scheduler]
    frontend_s: float
    rules: EngineRules
    ranks: int = 1  # data-parallel, in step; limits are of each
    frontend_request_s: float = 0.0  # in which the API server reads a request, alone


@dataclass(frozen=True)
class Served:
    """Completed requests in order of arrival, delivered times in seconds, and the steps behind them."""

    arrival_s: Floats
    first_token_s: Floats
    last_token_s: Floats
    output_tokens: NDArray[np.int64]
    steps: Columns

    @property
    def ttft_s(self) -> Floats:
        """Time to first token of each request."""
        return self.first_token_s - self.arrival_s

    @property
    def e2e_s(self) -> Floats:
        """Time to the last token of each request."""
        return self.last_token_s - self.arrival_s

    @property
    def tpot_s(self) -> Floats:
        """Time per output token after the first, of the requests that have more than one."""
        several = self.output_tokens > 1
        return (self.last_token_s - self.first_token_s)[several] / (self.output_tokens[several] - 1)

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last token."""
        return float(self.last_token_s.max() - self.arrival_s.min())


def serve(
    workload: Workload,
    server: Server,
    replicas: int = 1,
    router: Router | None = None,
    tiers: TiersPlan | None = None,
) -> Served:
    """Serve a workload on alike replicas, by default one; raise ``StallError`` unless every request completes.

    The steps are those of all replicas, one replica after the other. A router draws with seed 0.
    """
    deployment = colocated(
        server.scheduler,
        server.cost,
        server.limits,
        router or RoundRobin(),
        replicas=replicas * server.ranks,
        lockstep=server.ranks,
        rules=server.rules,
        frontend_s=server.frontend_s,
    )
    deployment = deployment._replace(tiers=tiers, frontend_request_s=server.frontend_request_s)
    cluster = assemble(workload, deployment)
    _, stalled = play(cluster)
    n = len(workload)
    ends = sum(replica.records.count("ended") for replica in cluster.replicas)
    if stalled is not None or ends < n:
        raise StallError(stalled or f"only {ends} of {n} requests completed")
    first_s, last_s = np.full(n, np.nan), np.full(n, np.nan)
    records = [replica.records for replica in cluster.replicas]
    steps = step_table([Incarnation(i, each) for i, each in enumerate(records)])
    for i, mine in split_by_replica(steps):
        request, step = prompt_end_rows(records[i])
        first_s[request[::-1]] = mine["end_s"][
            step[::-1]
        ]  # backwards: the first one stays, were it preempted
        job, _, end_s = ended_rows(records[i])
        last_s[job] = end_s
    return Served(
        np.array(cluster.traffic.arrival_s),
        first_s + server.frontend_s,
        last_s + server.frontend_s,
        workload.output_tokens,
        steps,
    )
