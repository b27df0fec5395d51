"""Policies of one's own that return nonsense, raise anything or leave: each is one sentence with the file."""

import math
from pathlib import Path

import pytest

from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from tests.compiled import COMPILED

HEAD = "import math, sys\nimport numpy as np\nfrom dataclasses import dataclass\nfrom simulator.policy import *\n"
WORKLOAD = {
    "arrivals": "constant",
    "rate_rps": 20.0,
    "requests": 4,
    "prompt_tokens": 40,
    "output_tokens": 12,
}
CLUSTERS: dict[str, dict[str, object]] = {
    "migration": {"replicas": 2},
    "roles": {"prefill": {"replicas": 2}, "decode": {"replicas": 1}},
    "scaling": {"scaling": {"max_replicas": 3}},
}
METHODS = {
    "admission": "def admit(self, job, replica, now_s, draw): return ",
    "abandonment": "def drop_s(self, job, tokens): return ",
    "routing": "def route(self, job, replicas, draw): return ",
    "delivery": "def deliver(self, generated_s, starts, rng): return ",
    "migration": "interval_s = 0.05\n    def moves(self, replicas, now_s): return ",
    "roles": "interval_s = 0.05\n    def switch(self, prefill, decode, now_s): return ",
    "scaling": "interval_s = 0.05\n    def target(self, pool, now_s): return ",
}
MOVE = "[Move(list(replicas[0].running)[0], {}, {})] if replicas[0].running else []"
TIMES = "expected an array of "
ANSWERS = {
    "admission": (
        "Mine.admit returned {}; expected True or False",
        ["None", "'no'", "1", "0.5", "[]", "np.array([True, False])", "float('nan')", "(True,)", "object()"],
    ),
    "abandonment": (
        "Mine.drop_s returned {}; expected a time in seconds, math.inf for never",
        ["None", "'5'", "1j", "float('nan')", "True", "np.array([1.0, 2.0])", "[1.0]", "10**400", "{}"],
    ),
    "routing": (
        "Mine.route returned {}; expected a number from 0 to 0",
        ["None", "0.0", "99", "-1", "'0'", "True", "np.array([0])", "replicas[0]", "[0]", "2**80"],
    ),
    "migration": (
        "Mine.moves returned {}; expected Moves of requests between replicas 0 to 1",
        [
            "None", "5", "(1, 2)", "'ab'", "[(1, 2, 3)]", "[Move(None, 0, 1)]", MOVE.format(0, 99),
            MOVE.format(0, -1), MOVE.format("'a'", 1), MOVE.format(0, 1.0), MOVE.format(True, 0),
        ],
    ),
    "roles": (
        "Mine.switch returned {}; expected one of the replicas it was shown, or None",
        ["5", "'x'", "prefill", "object()", "0", "True"],
    ),
    "scaling": (
        "Mine.target returned {}; expected a whole number",
        ["None", "1.5", "'x'", "float('nan')", "[1]", "2.0", "True", "1j", "math.inf"],
    ),
}  # fmt: skip
DELIVERED = [
    ("None", "returned None; expected an array of "),
    ("5.0", "returned 5.0; expected an array of "),
    ("'x'", "returned 'x'; expected an array of "),
    ("list(generated_s)", "expected an array of "),
    ("generated_s[:-1]", "returned an array of shape "),
    ("generated_s.reshape(-1, 1)", "returned an array of shape "),
    ("generated_s + 1j", "returned an array of shape "),
    ("generated_s.astype(object)", "returned an array of shape "),
    ("generated_s > 0", "returned an array of shape "),
    ("generated_s.astype(str)", "returned an array of shape "),
    ("generated_s * float('nan')", "returned a time that is no finite number"),
    ("generated_s + math.inf", "returned a time that is no finite number"),
    ("np.where(np.arange(len(generated_s)) == 3, math.inf, generated_s)", "no finite number"),
    ("generated_s - 1", "returned a time before a token was generated; expected none earlier"),
    ("np.zeros(len(generated_s))", "returned a time before a token was generated"),
    ("1e3 - generated_s", "returned times that go back within a request; expected its tokens in order"),
    ("generated_s + np.tile([5.0, 0.0], len(generated_s) // 2)", "returned times that go back"),
    ("1 / 0", "line 6: ZeroDivisionError: division by zero"),
    ("generated_s.nonsense", "line 6: AttributeError: "),
]
RAISED = [
    ("sys.exit()", "SystemExit"),
    ("sys.exit(0)", "SystemExit: 0"),
    ("sys.exit('bye')", "SystemExit: bye"),
    ("raise BaseException('x')", "BaseException: x"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise StopAsyncIteration", "StopAsyncIteration"),
    ("raise RecursionError", "RecursionError"),
    ("raise OSError('no')", "OSError: no"),
    ("raise BrokenPipeError", "BrokenPipeError"),
    ("raise KeyError(3)", "KeyError: 3"),
    ("raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})()", "Odd"),
    ("raise type('Odd', (Exception,), {'__str__': lambda self: 5})()", "Odd"),
    ("import nothing_of_this_name", "ModuleNotFoundError: "),
]
SCHEDULERS = [
    ("def queue_key(self): return 5", "Mine.queue_key returned 5; expected a function of a job, or None"),
    ("def queue_key(self): return 'x'", "Mine.queue_key returned 'x'; expected a function of a job, or None"),
    ("def queue_key(self): return lambda job: None", "the engine cannot go on with what it returned"),
    ("def queue_key(self): return lambda job: object()", "the engine cannot go on with what it returned"),
    ("def queue_key(self): return lambda job: 1 / 0", "line 6: ZeroDivisionError: "),
    ("def queue_key(self): return lambda: 1", "the engine cannot go on with what it returned or changed"),
    ("def told(self, readers): return None", "Mine.told returned None; expected the scheduler itself"),
    ("def told(self, readers): return 5", "Mine.told returned 5; expected the scheduler itself"),
    ("def native_engine(self): return 5", "the engine cannot go on with what it returned or changed"),
    ("def decides_each_step(self): return np.array([1, 2])", "the engine cannot go on with what it returned"),
    ("def plan(self, step): step.admit(None, 5)", "TypeError: " if COMPILED else "AttributeError: "),
    ("def plan(self, step): step.admit(step.waiting[0], 'x')", "TypeError: "),
    ("def plan(self, step): step.admit(step.waiting[0], -1)", "ValueError: "),
    ("def plan(self, step): step.admit(step.waiting[0], 10**9)", "ValueError: "),
    (
        "def plan(self, step): step.preempt(None)",
        "TypeError: " if COMPILED else "ValueError: None is not running",
    ),
    ("def plan(self, step): step.decode_all(5, 6, 7)", "TypeError: "),
    ("def plan(self, step): self.plan(step)", "RecursionError: "),
]
INTERVALS = [
    ("0", "expected a number > 0, got 0"),
    ("-1.0", "expected a number > 0, got -1.0"),
    ("None", "expected a number > 0, got None"),
    ("'5 s'", "expected a number > 0, got '5 s'"),
    ("float('nan')", "expected a number > 0, got nan"),
    ("1j", "expected a number > 0, got 1j"),
    ("True", "expected a number > 0, got True"),
    ("1e-300", "expected at least 0.001 s, got 1e-300"),
    ("5e-324", "expected at least 0.001 s, got 5e-324"),
    ("1e-9", "expected at least 0.001 s, got 1e-09"),
    ("10**400", "expected at most 9,007,199,254,740,991, got 1000000"),
]
IMPORTS = [
    ("sys.exit()", "cannot be imported: SystemExit"),
    ("sys.exit(0)", "cannot be imported: SystemExit: 0"),
    ("raise BaseException('x')", "cannot be imported: BaseException: x"),
    ("raise GeneratorExit", "cannot be imported: GeneratorExit"),
    ("raise MemoryError", "cannot be imported: MemoryError"),
    ("1 / 0", "cannot be imported: ZeroDivisionError: "),
    ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError: "),
    ("def f(: pass", "not valid Python: "),
    ("\x00", "mine.py: not valid Python: "),
]  # fmt: skip
MADE = [
    "KeyError('x')",
    "TypeError('x')",
    "ValueError('x')",
    "SystemExit",
    "BaseException('x')",
    "OSError('x')",
]
TYPES = ["'Nope'", "'sys.exit()'", "'1/0'", "'int |'", "'x y'"]


def refused(tmp_path: Path, kind: str, text: str) -> str:
    """Simulate with a policy of this text; return the sentence that refuses it, which has its file's name."""
    file = tmp_path / "mine.py"
    file.write_text(HEAD + text)
    settings = {"cluster": CLUSTERS.get(kind, {}), "run": {"horizon_s": 60.0}}
    with pytest.raises(InputError) as caught:
        run(Scenario(policy={kind: str(file)}, workload=WORKLOAD, **settings)).summary()
    return str(caught.value)


def answering(kind: str, answer: str) -> str:
    return f"class Mine:\n    {METHODS[kind]}{answer}\n"


@pytest.mark.parametrize(
    ("kind", "answer"), [(kind, each) for kind, (_, answers) in ANSWERS.items() for each in answers]
)
def test_an_answer_of_the_wrong_kind_is_named_with_file_and_line(tmp_path, kind, answer):
    before, _, after = ANSWERS[kind][0].partition("{}")
    said = refused(tmp_path, kind, answering(kind, answer))
    assert said.startswith(f"policy.{kind}: {tmp_path / 'mine.py'}: line ")
    assert before in said
    assert said.endswith(after)


@pytest.mark.parametrize(("answer", "sentence"), DELIVERED)
def test_times_of_delivery_are_numbers_in_order(tmp_path, answer, sentence):
    said = refused(tmp_path, "delivery", answering("delivery", answer))
    assert said.startswith(f"policy.delivery: {tmp_path / 'mine.py'}: line 6: ")
    assert sentence in said


@pytest.mark.parametrize(("statement", "sentence"), RAISED)
@pytest.mark.parametrize("kind", ["scheduling", "routing"])
def test_whatever_is_raised_is_blamed_on_file_and_line(tmp_path, kind, statement, sentence):
    head = "class Mine(Scheduler):\n    def plan(self, step):\n" if kind == "scheduling" else (
        "class Mine:\n    def route(self, job, replicas, draw):\n"
    )  # fmt: skip
    said = refused(tmp_path, kind, f"{head}        {statement}\n")
    assert said.startswith(f"policy.{kind}: {tmp_path / 'mine.py'}: line 7: {sentence}")


@pytest.mark.parametrize(("body", "sentence"), SCHEDULERS)
def test_what_a_scheduler_does_is_blamed_on_its_file(tmp_path, body, sentence):
    plan = "" if "def plan" in body else "    def plan(self, step): pass\n"
    said = refused(tmp_path, "scheduling", f"class Mine(Scheduler):\n    {body}\n{plan}")
    assert str(tmp_path / "mine.py") in said
    assert sentence in said


@pytest.mark.parametrize(("interval", "sentence"), INTERVALS)
@pytest.mark.parametrize("kind", ["migration", "roles", "scaling"])
def test_a_policy_is_asked_at_intervals_that_end(tmp_path, kind, interval, sentence):
    text = answering(kind, "[]").replace("interval_s = 0.05", f"interval_s = {interval}")
    assert f"policy.{kind}: Mine.interval_s: {sentence}" in refused(tmp_path, kind, text)


@pytest.mark.parametrize(("statement", "sentence"), IMPORTS)
def test_whatever_an_import_does_is_one_sentence(tmp_path, statement, sentence):
    said = refused(tmp_path, "routing", f"{statement}\n{answering('routing', '0')}")
    assert said.startswith(f"policy.routing: {tmp_path / 'mine.py'}: ")
    assert sentence in said


@pytest.mark.parametrize("raised", MADE)
@pytest.mark.parametrize("place", ["__init__", "__post_init__"])
def test_whatever_making_it_raises_has_file_and_line(tmp_path, place, raised):
    deco = "@dataclass\n" if place == "__post_init__" else "\n"
    text = f"{deco}class Mine:\n    def {place}(self): raise {raised}\n    {METHODS['routing']}0\n"
    assert refused(tmp_path, "routing", text).startswith(
        f"policy.routing: {tmp_path / 'mine.py'}: line 7: {raised.partition('(')[0] if 'Key' in raised else ''}"
    )


@pytest.mark.parametrize("written", TYPES)
def test_the_type_of_a_parameter_may_be_any_code(tmp_path, written):
    text = f"@dataclass\nclass Mine:\n    share: {written} = 1\n    {METHODS['routing']}0\n"
    assert "the type of a parameter cannot be found: " in refused(tmp_path, "routing", text)


@pytest.mark.parametrize("statement", ["sys.exit()", "sys.exit(0)"])
@pytest.mark.parametrize("where", ["import", "plan"])
def test_a_policy_cannot_end_the_command(tmp_path, monkeypatch, capsys, where, statement):
    monkeypatch.chdir(tmp_path)
    at_import, in_plan = (statement, "pass") if where == "import" else ("pass", statement)
    Path("mine.py").write_text(
        f"{HEAD}{at_import}\nclass Mine(Scheduler):\n    def plan(self, step): {in_plan}\n"
    )
    assert (
        cli.main(["run", "--set", "workload.limit=5", "--set", "policy.scheduling=mine.py", "--no-plot"]) == 2
    )
    said = capsys.readouterr().err
    assert "SystemExit" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("answer", ["np.float64(3.0)", "5", "math.inf", "-1.0", "np.int64(2)"])
def test_numbers_of_any_type_are_times(tmp_path, answer):
    file = tmp_path / "mine.py"
    file.write_text(HEAD + answering("abandonment", answer))
    found = run(Scenario(policy={"abandonment": str(file)}, workload=WORKLOAD)).summary()
    assert found["states"]["arrived"] == 4
    assert math.isfinite(found["window"]["duration_s"])


@pytest.mark.parametrize(("kind", "answer"), [("routing", "np.int64(0)"), ("admission", "np.bool_(True)")])
def test_answers_may_be_of_types_of_numpy(tmp_path, kind, answer):
    file = tmp_path / "mine.py"
    file.write_text(HEAD + answering(kind, answer))
    assert (
        run(Scenario(policy={kind: str(file)}, workload=WORKLOAD)).summary()["states"]["completed"]["count"]
        == 4
    )
