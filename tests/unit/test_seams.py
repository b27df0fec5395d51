"""What a policy has to be is said once, by its seam; one that is something else is one sentence with file and line."""

import inspect
import re
from pathlib import Path

import pytest

from simulator import Scenario, policy, run
from simulator.cli.main import main
from simulator.errors import InputError
from simulator.scenario.discover import KINDS, discover, load
from simulator.scenario.seams import methods, seam

ROOT = Path(__file__).parent.parent.parent

# What the engine passes: what its calls say, and what docs/write_a_policy.md and docs/design.md print
PASSED = {
    "scheduling": "plan(step)",
    "routing": "route(job, replicas, draw)",
    "admission": "admit(job, replica, now_s, draw)",
    "abandonment": "drop_s(job, tokens)",
    "migration": "moves(replicas, now_s)",
    "delivery": "deliver(generated_s, starts, rng)",
    "roles": "switch(prefill, decode, now_s)",
    "scaling": "target(pool, now_s)",
    "acceptance": "verify(answer, generated, wanted)",
    "expert_load": "shares(layers, experts, rng)",
    "expert_placement": "place(load, gpus)",
}
RIGHT = {
    "scheduling": "def plan(self, step): step.decode_all()",
    "routing": "def route(self, *given, **more): return 0",
    "admission": "def admit(self, job, replica, when, draw, /, extra=1): return True",
    "abandonment": "def drop_s(self, job, tokens): return float('inf')",
    "migration": "def moves(self, replicas, now_s): return []",
    "delivery": "@staticmethod\n    def deliver(generated_s, starts, rng): return generated_s",
    "roles": "@classmethod\n    def switch(cls, prefill, decode, now_s): return None",
    "scaling": "def target(self, pool, now_s): return 1",
    "acceptance": "def verify(self, answer, generated, wanted): return wanted, 0",
    "expert_load": "def shares(self, layers, experts, rng): return 1 + rng.random((layers, experts))",
    "expert_placement": "def place(self, load, gpus): return load.argsort().reshape(gpus, -1)",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_seams_are_what_is_written_of_them(kind):
    name, arguments = next(iter(methods(kind).items()))
    assert f"{name}({', '.join(arguments)})" == PASSED[kind]
    assert seam(kind) in vars(policy).values()
    for shipped in discover(kind):
        own = list(inspect.signature(getattr(load(kind, shipped), name)).parameters)
        assert own == ["self", *arguments], shipped
    for page in (ROOT / "docs").glob("*.md"):
        for written in re.findall(rf"`{name}\([^)`]+\)`", page.read_text(encoding="utf-8")):
            assert written == f"`{PASSED[kind]}`", page


def mine(folder, kind, body, attributes="interval_s = 1.0"):
    base = "(Scheduler)" if kind == "scheduling" else ""
    file = folder / "mine.py"
    file.write_text(
        f"from simulator.policy import Scheduler\n\n\nclass Mine{base}:\n    {attributes}\n    {body}\n"
    )
    return str(file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_that_takes_what_is_passed_is_taken(tmp_path, kind):
    assert load(kind, mine(tmp_path, kind, RIGHT[kind])).__name__ == "Mine"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["self", "self, *, job", "self, a, b, c, d, e"])
def test_a_method_that_cannot_be_called_is_named_with_its_line(tmp_path, kind, wrong):
    name = PASSED[kind].partition("(")[0]
    file = mine(tmp_path, kind, f"def {name}({wrong}): ...")
    with pytest.raises(InputError) as refused:
        load(kind, file)
    assert str(refused.value) == (
        f"policy.{kind}: {file}: line 6: Mine.{name} cannot be called with what the engine passes;"
        f" expected {PASSED[kind].replace('(', '(self, ')}, got {name}({wrong})"
    )


@pytest.mark.parametrize("hook", ["splits_prompts", "decides_each_step", "queue_key"])
def test_what_a_scheduler_may_override_is_checked_too(tmp_path, hook):
    file = mine(tmp_path, "scheduling", f"def {hook}(self, jobs): ...\n    def plan(self, step): ...")
    with pytest.raises(InputError, match=rf"line 6: Mine\.{hook} cannot be called .*expected {hook}\(self\)"):
        load("scheduling", file)


def test_a_wrong_signature_ends_in_one_sentence(tmp_path, capsys):
    file = mine(tmp_path, "abandonment", "def drop_s(self, job): return 1.0")
    assert main(["run", "--set", "workload.limit=10", "--set", f"policy.abandonment={file}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{file}: line 6: Mine.drop_s cannot be called" in said
    assert "expected drop_s(self, job, tokens), got drop_s(self, job)" in said


@pytest.mark.parametrize("kind", ["migration", "roles", "scaling"])
@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ("other = 1", "Mine has no interval_s; expected a number > 0"),
        ("interval_s = '5 s'", "Mine.interval_s: expected a number > 0, got '5 s'"),
        ("interval_s = 0", "Mine.interval_s: expected a number > 0, got 0"),
    ],
)
def test_how_often_a_policy_is_asked_is_a_number(tmp_path, kind, attributes, sentence):
    file = mine(tmp_path, kind, RIGHT[kind], attributes)
    with pytest.raises(InputError, match=f"policy.{kind}: {sentence}"):
        Scenario(policy={kind: file})


@pytest.mark.parametrize(
    "given", ["None", "generated_s[:-1]", "generated_s * float('nan')", "list(generated_s)"]
)
def test_delivery_is_a_time_for_each_token(tmp_path, given):
    file = mine(tmp_path, "delivery", f"def deliver(self, generated_s, starts, rng): return {given}")
    with pytest.raises(
        InputError, match=r"policy.delivery: .*line 6: Mine.deliver returned .*expected an array of \d+ numb"
    ):
        run(Scenario(policy={"delivery": file}, workload={"limit": 20}))
