"""From a request of the traffic to a job that replicas serve."""

from collections.abc import Sequence

from simulator.cluster.deployment import Deployment
from simulator.cluster.mixed import MixedPools
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.request import Request
from simulator.workload.workload import Workload


class Intake:
    """What a deployment makes of requests: how long they may get, and which can never be served."""

    def __init__(
        self,
        workload: Workload,
        deployment: Deployment,
        replicas: Sequence[Replica],
        mixed: MixedPools | None = None,
    ) -> None:
        """Look up the limits once; ``mixed`` knows those of unlike pools, the longest of which counts here."""
        self._mixed = mixed
        longest_tokens = (min if mixed is None else max)(
            pool.limits.max_model_len for pool in deployment.pools
        )
        self._longest_tokens = longest_tokens + max(pool.rules.overrun_tokens for pool in deployment.pools)
        self._capacity_tokens = min(each.total_blocks * each.block_size for each in replicas)
        self._strict = deployment.pools[0].limits.strict_engine
        self._max_tokens = workload.max_tokens
        self._pace_s, self._allowance_s = deployment.pace_s, deployment.allowance_s
        self._curve, self._thinking_share = deployment.curve, deployment.thinking_share
        routers = [deployment.router, *([] if deployment.hand_off is None else [deployment.hand_off.router])]
        reads = any(getattr(router, "reads_prompts", False) for router in routers)
        self._segments = workload.segments if reads else None

    def job(self, request: Request, number: int, arrival_s: float) -> Job:
        """Return the job of a request, which is the ``number``-th to arrive."""
        room = max(1, self._longest_tokens - request.prompt_tokens)
        output_tokens, max_tokens = request.output_tokens, min(request.limit_tokens, self._max_tokens)
        pace_s, thinking = request.v_s_per_token, request.thinking_tokens
        job = Job(
            request,
            number,
            arrival_s,
            output_tokens if output_tokens < room else room,
            max_tokens if max_tokens < room else room,
            pace_s if pace_s == pace_s else self._pace_s,  # NaN: it says nothing
            self._allowance_s,
            self._curve,
            int(self._thinking_share * output_tokens) if thinking < 0 else thinking,
        )
        if self._segments is not None:
            job.prompt_segments = self._segments[request.row]
        return job

    def never_fits(self, request: Request) -> bool:
        """Whether a prompt is too long for the replicas; an engine taken strictly hangs on it."""
        tokens = request.prompt_tokens
        if self._mixed is not None:
            return not self._mixed.pools_for(request, tokens)
        return (tokens >= self._longest_tokens or tokens > self._capacity_tokens) and not self._strict
