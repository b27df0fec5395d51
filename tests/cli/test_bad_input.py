"""Each bad input: one sentence on stderr that says where and what, the right exit code, no traceback."""

import subprocess
from pathlib import Path

import pytest

from simulator.cli import main as cli
from tests.refusals import GOOD, TRACE, command, environment, folder, one_line, refusal

__all__ = ["folder"]  # the fixture, used by every test here


def test_the_good_scenario_is_good(capsys):
    assert cli.main(["run", "s.toml", "--no-plot"]) == 0
    assert "2 requests" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (GOOD + "rate_rsp = 3\n", "s.toml: workload.rate_rsp: unknown key; did you mean 'rate_rps'?"),
        (GOOD + "[engin]\n", "s.toml: engin: unknown key; did you mean 'engine'?"),
        (
            GOOD + '[policy]\nscheduling = "vllm_v2"\n',
            "s.toml: policy.scheduling: no policy 'vllm_v2'; did you mean",
        ),
        (GOOD + '[policy.routing]\nname = "roundrobin"\n', "did you mean 'round_robin'?"),
        (GOOD + "rate_rps = -3\n", "s.toml: workload.rate_rps: expected a number > 0, got -3"),
        (GOOD + "rate_rps = nan\n", "s.toml: workload.rate_rps: expected a finite number, got nan"),
        (GOOD + "[user]\nv_s_per_token = nan\n", "s.toml: user.v_s_per_token must be a finite number"),
        (GOOD + "rate_rps = \n", "s.toml: line 3, column 12: not valid TOML"),
        ('seed = "a"\n', "s.toml: seed: expected a whole number, got 'a'"),
        ('hardware.gpu = "h10O-80gb-sxm"\n', "did you mean 'h100-80gb-sxm'?"),
        ('hardware.model = "llama-3.1-8B-instruct"\n', "llama-3.1-8b"),
        ('hardware.model = "llama-3.1-70b"\n', "does not fit"),
    ],
)
def test_a_wrong_scenario_is_placed(capsys, toml, message):
    Path("s.toml").write_text(toml)
    assert message in refusal(capsys, "run", "s.toml")
    assert not Path("runs", "s-1").exists()


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("scheduling", "def plan(self, step): step.admit(step.waiting[0], 10**9)", "line 3: ValueError: "),
        ("scheduling", "def plan(self, step): 1 / 0", "line 3: ZeroDivisionError: "),
        (
            "scheduling",
            "pass",
            "Mine has no method plan(); expected a subclass of simulator.policy.Scheduler",
        ),
        ("routing", "def route(self, *a): return a.b", "line 3: AttributeError: "),
    ],
)
def test_a_policy_that_breaks_is_named_with_its_line(capsys, kind, body, message):
    Path("mine.py").write_text(
        f"from simulator.policy import Scheduler as S\nclass Mine{'(S)' if kind == 'scheduling' else ''}:\n    {body}\n"
    )
    text = refusal(capsys, "run", "s.toml", "--set", f"policy.{kind}=./mine.py")
    assert f"policy.{kind}: " in text
    assert "mine.py: " in text
    assert message in text


def test_a_horizon_before_anything_arrives_is_refused(capsys):
    Path("t.csv").write_text(TRACE + "10,50,5\n")
    text = refusal(capsys, "run", "s.toml", "--set", "run.horizon_s=5")
    assert text == "run.horizon_s: 5 s is before anything arrives; expected more than 10 s"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--sett", "a.b=1"], "--set"),
        (["run", "s.toml", "extra"], "extra"),
        (["run", "gone.toml"], "gone.toml: no such file"),
        (["run", "."], ".: cannot be read: Is a directory"),
        (["run", "--set", "seed"], "--set seed: expected section.key=value"),
        (["run", "--set", "workload.rate_rps=-1"], "--set workload.rate_rps: expected a number > 0, got -1"),
        (
            ["run", "s.toml", "--set", "cluster.replicas.x=3"],
            "--set cluster.replicas: expected a whole number",
        ),
        (["run", "s.toml", "--set", "user.v_s_per_token=0"], "--set user.alpha must be given"),
        (["run", "s.toml", "--set", "workload.trace="], "--set workload.trace: expected one line of text"),
        (["run", "s.toml", "--set", "name=\x1b[31m"], "--set name: expected one line of text"),
        (["run", "s.toml", "--set", "engine.max_model_len=1"], "engine.max_model_len: expected at least 2"),
        (["list", "polices"], "did you mean 'policies'?"),
        (["list"], "Missing argument"),
        (["compare", "s.toml"], "expected two or more scenario files, got 1"),
        (["show", "gone"], "gone/requests.parquet: not found"),
        (["show", "gone", "--set", "cluster.replicas=2"], "only in user.*, slo.*, metrics.*"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(capsys, arguments, message):
    assert message in refusal(capsys, *arguments)


def test_the_installed_process_refuses_without_a_traceback():
    Path("s.toml").write_text("[cluster\n")
    done = subprocess.run(
        command("run", "s.toml"), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert one_line(done.stderr).startswith("s.toml: line 1, column 9: not valid TOML: ")
