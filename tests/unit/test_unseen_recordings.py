"""Rules of vLLM's schedulers that show in few recordings: victims passed over, and last tokens computed again."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.conformance import replay
from policies.scheduling.vllm_v1 import VllmV1
from tests.compiled import interpreted_only

pytestmark = interpreted_only
LENGTHS = st.tuples(st.integers(1, 20), st.integers(1, 20))  # prompt and output tokens
MOST_STEPS = 5000


@given(st.integers(3, 40), st.integers(10, 24), st.lists(LENGTHS, min_size=2, max_size=8))
def test_in_v0_all_that_is_computed_again_is_a_prompt(
    budget: int, blocks: int, lengths: list[tuple[int, int]]
) -> None:
    """A preempted sequence is in its prefill stage until all of it is computed: vLLM 0.5.3, vllm/sequence.py."""
    settings = {
        "max_num_seqs": 4, "max_num_batched_tokens": budget, "max_model_len": 40, "block_size": 4,
        "num_gpu_blocks": blocks, "enable_chunked_prefill": True, "preemption_mode": None, "delay_factor": 0.0,
    }  # fmt: skip
    prompts, outputs = zip(*lengths, strict=True)
    arrivals = [1_000_000 * place for place in range(len(lengths))]
    requests = {"arrival_ns": arrivals, "prompt": list(prompts), "max_output": list(outputs)}
    engine = "vllm-v0-0.5.3.post1"
    steps = {"t_ns": [0] * MOST_STEPS}
    rows = replay(
        {"scenario": "ours", "engine": engine, "settings": settings, "requests": requests, "steps": steps}
    )[0].rows
    assert len(rows) < MOST_STEPS
    known, computes = list(prompts), [True] * len(prompts)
    for row in rows:
        for job in row["preempted"]:
            computes[job] = True
        for entry in row["sched"]:
            job, tokens, computed = (entry, 1, known[entry] - 1) if isinstance(entry, int) else entry
            assert computes[job] == (not isinstance(entry, int))
            if computed + tokens == known[job]:
                known[job] += 1
                computes[job] = False
    assert known == [prompt + output for prompt, output in lengths]


@dataclass(eq=False)
class Running:
    """What a scheduler looks at of a job that decodes."""

    priority: int
    arrival_s: float = 0.0
    completing: bool = False
    remaining_tokens: int = 1
    group: object = "decodes"


@dataclass
class Step:
    """A step in which so many requests can have a block more; who gives up blocks gives up one."""

    running: list[Running]
    free: int
    token_budget: int = 100
    partial: set[Running] = field(default_factory=set)
    scheduled: list[Running] = field(default_factory=list)

    def hold(self, job: Running) -> None:
        self.partial.add(job)

    def prefill(self, job: Running, _: int) -> bool:
        if not self.free:
            return False
        self.free -= 1
        self.scheduled.append(job)
        return True

    def preempt(self, job: Running) -> None:
        self.running.remove(job)
        if job in self.scheduled:
            self.scheduled.remove(job)
        self.free += 1


def squeezed(jobs: list[Running], free: int) -> list[int]:
    """Return which of the jobs are in the step."""
    step = Step(list(jobs), free)
    VllmV1(policy="priority")._squeeze(step)  # type: ignore[arg-type]
    return [place for place, job in enumerate(jobs) if job in step.scheduled]


def test_a_victim_that_has_its_block_moves_the_turn_back() -> None:
    assert squeezed([Running(0), Running(9), Running(1), Running(2)], free=2) == [
        0,
        2,
    ]  # 3 is the next victim


def test_a_victim_passed_over_does_not_and_the_next_one_is_left_out() -> None:
    """vLLM 0.24.0, v1/core/sched/scheduler.py: the index goes back for a victim among the scheduled ones only."""
    waits = Running(9, completing=True, group=None)
    assert squeezed([waits, Running(0), Running(1), Running(2)], free=0) == [1]
    assert squeezed([waits, Running(0), Running(1), Running(2)], free=1) == [1, 2]
