"""The replicas of a run and the traffic that reaches them."""

import math
import random
from collections.abc import Sequence

from simulator.clock import Clock, Process
from simulator.policy import Router
from simulator.replica import Replica
from simulator.request import Job
from simulator.workload.workload import Workload


class Cluster:
    """Delivers each request at its arrival time, through the router, to a replica."""

    def __init__(
        self,
        clock: Clock,
        workload: Workload,
        replicas: Sequence[Replica],
        router: Router,
        draw: random.Random,
        max_model_len: int,
    ) -> None:
        """Start the arrivals; sequences end at ``max_model_len`` tokens, prompt included."""
        self.clock = clock
        self.workload = workload
        self.replicas = replicas
        self.router = router
        self.draw = draw
        self.max_model_len = max_model_len
        self.arrived = 0
        clock.process(self._arrive())

    def requests_done(self) -> int:
        """Requests that have reached a final state."""
        return sum(len(replica.records.ended) for replica in self.replicas)

    def _arrive(self) -> Process:
        clock, replicas, route, draw = self.clock, self.replicas, self.router.route, self.draw
        max_tokens, max_model_len = self.workload.max_tokens, self.max_model_len
        columns = zip(
            self.workload.arrival_s.tolist(),
            self.workload.prompt_tokens.tolist(),
            self.workload.output_tokens.tolist(),
            strict=True,
        )
        for request_id, (arrival_s, prompt_tokens, output_tokens) in enumerate(columns):
            if arrival_s > clock.quiet_until_s:
                clock.quiet_until(arrival_s)
                yield clock.at(arrival_s)
            room = max_model_len - prompt_tokens
            job = Job(request_id, arrival_s, prompt_tokens, min(output_tokens, room), min(max_tokens, room))
            replicas[route(prompt_tokens, replicas, draw)].submit(job)
            self.arrived += 1
        clock.quiet_until(math.inf)
