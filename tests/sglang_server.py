"""A replica under SGLang's policy that the tests step by hand."""

from hardware_profiles import native_rules
from policies.scheduling.sglang import Sglang
from simulator.cluster.building import engine_for
from simulator.replica.limits import Limits
from simulator.testing import new_job
from simulator.workload.workload import Workload


class Server:
    """A policy and its engine, stepped by hand; synchronous unless told otherwise."""

    def __init__(self, *, seqs=16, budget=1000, kv=1000, page=1, segments=None, strict=False, **options):
        self.policy = Sglang(**{"disable_overlap_schedule": True, **options})
        n = len(segments or ()) or 1
        traffic = Workload(
            "test",
            [0.0] * n,
            [5] * n,
            [1] * n,
            1,
            "a test",
            segments=segments,
            output_stream=None if segments is None else range(1000, 1000 + n),
        )
        limits = Limits(seqs, budget, 10_000, kv // page, page, strict_engine=strict)
        self.engine = engine_for(traffic, limits, self.policy, native_rules(self.policy).serving(self.policy))
        self.jobs = []
        self.now_s = 0.0

    def arrive(self, prompt, output, max_tokens=None, priority=0):
        job = new_job(len(self.jobs), self.now_s, prompt, output, max_tokens, priority=priority)
        self.jobs.append(job)
        self.engine.submit(job)
        return job

    def step(self):
        """Run a step; return the tokens extended by request, and how many decoded."""
        engine = self.engine
        engine.open(self.now_s)
        self.policy.plan(engine)
        extended = {job.id: tokens for job, tokens in engine.chunks.items()}
        decoded = engine.shape.decode_seqs
        completing = engine.advance()
        self.now_s += 1.0
        engine.retire(completing, self.now_s)
        return extended, decoded

    def steps(self, n):
        return [self.step() for _ in range(n)]

    @property
    def ratio(self):
        return self.policy._batch.ratio

    def waiting(self):
        return [job.id for job in self.engine.waiting]


def crowd(server, *lengths):
    """Let requests run side by side that would not have been admitted together."""
    server.policy._batch.ratio = 0.0
    for prompt, most in lengths:
        server.arrive(prompt, most)
        server.step()
        server.policy._batch.ratio = 0.0
    return server
