"""Each bad input: one sentence on stderr that says where and what, the right exit code, no traceback."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator import cli
from simulator.result import Result

ROOT = str(Path(__file__).parent.parent)
TRACE = "arrival_s,prompt_tokens,output_tokens\n"
GOOD = '[workload]\ntrace = "t.csv"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with a good scenario, s.toml, and its good trace, t.csv."""
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(GOOD)
    Path("t.csv").write_text(TRACE + "0,50,5\n1,60,6\n")
    return tmp_path


def refusal(capsys, *arguments: str, code: int = 2) -> str:
    """Run the command, check the form of its refusal, and return the sentence."""
    assert cli.main(list(arguments)) == code
    captured = capsys.readouterr()
    return one_line(captured.err)


def one_line(stderr: str) -> str:
    assert stderr.startswith("servesim: error: ")
    assert stderr.count("\n") == 1
    assert stderr.endswith("\n")
    assert "Traceback" not in stderr
    return stderr.removeprefix("servesim: error: ").rstrip("\n")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "simulator.cli", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ROOT}


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
    assert not Path("servesim-out", "s-1").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "t.csv: the trace is empty"),
        ("0,5,5\n3,5,5\n2,5,5\n", "t.csv: line 4: arrival_s is 2.0 after 3.0"),
        ("0,5,5\n1,0,5\n", "t.csv: line 3: prompt_tokens is 0; expected a whole number of tokens >= 1"),
        ("0,5,5\nnan,5,5\n", "t.csv: line 3: arrival_s is nan"),
        ("0,5,5\n1,five,5\n", "t.csv: line 3: prompt_tokens is 'five'; expected a number"),
    ],
)
def test_a_wrong_trace_is_placed(capsys, rows, message):
    Path("t.csv").write_text(TRACE + rows)
    assert message in refusal(capsys, "run", "s.toml")


def test_a_corrupt_parquet_is_named(capsys):
    Path("t.parquet").write_bytes(b"PAR1 and then nothing of use")
    text = refusal(capsys, "run", "--set", "workload.trace=t.parquet")
    assert text.startswith("t.parquet: not a readable Parquet file")


def test_a_missing_trace_suggests_a_shipped_one(capsys):
    text = refusal(capsys, "run", "--set", "workload.trace=azure2023-conv")
    assert text.startswith("workload.trace: no file 'azure2023-conv'")
    assert "did you mean the shipped 'azure2023_conv'?" in text


def test_a_prompt_beyond_max_model_len_is_named(capsys):
    text = refusal(capsys, "run", "s.toml", "--set", "engine.max_model_len=60")
    assert "request 1 has a prompt of 60 tokens" in text
    assert "expected fewer than max_model_len = 60" in text


def test_a_prompt_beyond_the_kv_cache_is_named(capsys):
    text = refusal(capsys, "run", "s.toml", "--set", "engine.num_gpu_blocks=4")
    assert "request 0 has a prompt of 50 tokens" in text
    assert "KV cache holds" in text


def test_an_output_folder_in_use_is_refused_before_anything_runs(capsys, monkeypatch):
    Path("o").mkdir()
    Path("o/mine.txt").write_text("precious")
    monkeypatch.setattr("simulator.runner.run", None)
    text = refusal(capsys, "run", "s.toml", "--out", "o")
    assert text == "o: exists and is not empty; expected a new folder (or --overwrite)"
    assert "t.csv: exists and is not a folder" in refusal(capsys, "run", "s.toml", "--out", "t.csv")
    assert "Not a directory" in refusal(capsys, "run", "s.toml", "--out", "t.csv/o")


def test_overwrite_and_an_empty_folder_are_fine(capsys):
    Path("o").mkdir()
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot", "--overwrite"]) == 0
    capsys.readouterr()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused_before_anything_runs(capsys):
    Path("o").mkdir(mode=0o500)
    assert "permission denied" in refusal(capsys, "run", "s.toml", "--out", "o").lower()


def test_a_full_disk_loses_the_file_but_not_the_result(capsys, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    assert cli.main(["run", "s.toml", "--out", "o"]) == 2
    captured = capsys.readouterr()
    assert one_line(captured.err) == "o: the records could not be saved: No space left on device"
    assert "smooth goodput" in captured.out


def test_a_disk_that_really_refuses_is_one_sentence_too():
    # a limit on the size of files makes the system call itself fail half-way through a real file
    done = subprocess.run(
        command("run", "--set", "workload.limit=500", "--out", "o", "--no-plot"),
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "o: the records could not be saved: " in one_line(done.stderr)
    assert "smooth goodput" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stdout_that_takes_nothing_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command("list", "workloads"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    assert one_line(done.stderr) == "No space left on device"


def test_a_reader_that_leaves_early_is_no_error():
    shell = f"'{sys.executable}' -m simulator.cli run --print-scenario | true"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.stderr == ""


def test_ctrl_c_keeps_what_is_finished_and_marks_it_partial():
    # constant arrivals for a very long time: certainly not over when the signal comes
    process = subprocess.Popen(
        command(
            *(
                "run",
                "--out",
                "o",
                "--no-plot",
                "--set",
                "workload.arrivals=constant",
                "--set",
                "workload.rate_rps=2",
            ),
            *("--set", "workload.requests=2000000", "--set", "workload.prompt_tokens=50"),
            *("--set", "workload.output_tokens=50"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + 30
    while not Path("o").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    text = one_line(err)
    assert text.startswith("interrupted at ")
    assert text.endswith("the records up to there are in o, marked partial")
    assert "WARNING: partial: the run was interrupted" in out
    result = Result.load("o")
    assert result.partial
    states = result.requests()["state"].to_pylist()
    assert "completed" in states
    assert "unfinished" in states


def test_ctrl_c_outside_a_run_is_130_too(capsys, monkeypatch):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.listing.listing", interrupt)
    assert refusal(capsys, "list", "gpus", code=130) == "interrupted"


def test_a_policy_that_stalls_is_named_and_the_records_are_kept(capsys):
    Path("lazy.py").write_text(
        "from simulator.policy import Scheduler\n"
        "class Lazy(Scheduler):\n"
        "    def plan(self, step):\n"
        "        if step.running:\n"
        "            step.decode_all()\n"
        "        elif step.waiting and step.waiting[0].prompt_tokens == 50:\n"
        "            job = step.waiting[0]\n"
        "            step.admit(job, job.known_tokens)\n"
    )
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot", "--set", "policy.scheduling=./lazy.py"]) == 3
    captured = capsys.readouterr()
    text = one_line(captured.err)
    assert "azy" in text
    assert text.endswith("the records up to there are in o, marked partial")
    assert "WARNING: partial: the run stalled" in captured.out
    assert Result.load("o").partial


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
        (["list", "polices"], "did you mean 'policies'?"),
        (["list"], "Missing argument"),
        (["compare", "s.toml"], "expected two or more scenario files, got 1"),
        (["show", "gone"], "gone/requests.parquet: not found"),
        (["show", "gone", "--set", "cluster.replicas=2"], "only in user.* and slo.*"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(capsys, arguments, message):
    assert message in refusal(capsys, *arguments)


def test_a_damaged_result_is_named(capsys):
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    capsys.readouterr()
    Path("o/tokens.parquet").write_bytes(b"no")
    assert refusal(capsys, "show", "o").startswith("o/tokens.parquet: not a readable parquet file")


def test_the_installed_process_refuses_without_a_traceback():
    Path("s.toml").write_text("[cluster\n")
    done = subprocess.run(
        command("run", "s.toml"), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert one_line(done.stderr).startswith("s.toml: line 1, column 9: not valid TOML: ")
