"""Replicas and requests as a policy around scheduling sees them."""

from simulator.testing import new_job


class View:
    """A replica as a policy sees it, with what a test says of it."""

    def __init__(
        self,
        load=0,
        *,
        cached=0,
        ttft_s=0.0,
        tbt_s=0.0,
        waiting=0,
        running=(),
        free=1000,
        total=1000,
        step_s=0.0,
        queued=0,
        requests=None,
        draining=False,
    ):
        self.running = list(running)
        self.outstanding_tokens = load + queued + sum(job.known_tokens for job in self.running)
        self.waiting = [request(1000 + k) for k in range(waiting)] if isinstance(waiting, int) else waiting
        self.waiting_requests = len(self.waiting)
        self.draining = draining
        self.outstanding_requests = len(self.running) + len(self.waiting) if requests is None else requests
        self.free_blocks, self.total_blocks, self.block_size = free, total, 16
        self.last_step_s = step_s
        self._cached, self._ttft_s, self._tbt_s = cached, ttft_s, tbt_s

    def cached_tokens(self, job):
        return self._cached

    def predicted_ttft_s(self, job):
        return self._ttft_s

    def predicted_tbt_s(self, job):
        return self._tbt_s


def request(number=0, arrival_s=0.0, prompt=100, **more):
    return new_job(number, arrival_s, prompt, 50, 50, **more)


def decoding(number, *, prompt=100, tokens=10, arrival_s=0.0, **more):
    """A job that has ``tokens`` of its 50 tokens and decodes."""
    job = request(number, arrival_s, prompt, **more)
    job.generated, job.computed = tokens, prompt + tokens - 1
    assert job.decodes
    return job
