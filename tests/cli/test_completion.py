"""What the TAB key offers, asked as bash, zsh and fish ask: by environment variables."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.cli import completion
from simulator.scenario.discover import discover
from simulator.scenario.scenario import Scenario

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ask(tmp_path):
    """Return what is offered for words, of which the last is not complete."""
    for name in ("runs/a-1", "runs/deep/b", "elsewhere/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "chat.toml").touch()

    def asked(*words, shell="bash"):
        *given, last = words
        if shell == "bash":  # splits words at =
            split = [part for word in ("servesim", *given) for part in word.replace("=", " = ").split(" ")]
            split += [part for part in last.replace("=", " = ").split(" ") if part or not last.endswith("=")]
            split += [""] if last.endswith("=") or not last else []
            env = {"COMP_WORDS": " ".join(split), "COMP_CWORD": str(len(split) - 1)}
        else:
            env = {"_TYPER_COMPLETE_ARGS": " ".join(["servesim", *words])}
        if shell == "fish":
            env["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
        process = subprocess.run(
            [sys.executable, "-m", "simulator.cli.main"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={
                **os.environ, "_SERVESIM_COMPLETE": f"complete_{shell}", "PYTHONPATH": str(ROOT),
                "XDG_CACHE_HOME": str(tmp_path / "cache"), **env,
            },
        )  # fmt: skip
        assert process.stderr == ""
        return process.stdout.split()

    return asked


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", "--set", "policy.rou"], {"policy.routing=least_loaded"}),
        (["run", "--set", "policy.scheduling="], set(discover("scheduling"))),
        (["run", "--set", "hardware.gpu=h1"], {"h100-80gb-sxm"}),
        (["run", "--set", "seed=1", "--set", "hardware.model=llama-3.1"], {"llama-3.1-8b"}),
        (["run", "--set", "engine.profile=vllm"], {"vllm-0.24"}),
        (["run", "--set", "cluster.replicas="], {"1"}),
        (["run", "--set", "workload.lengths=chat"], {"chat_azure2023"}),
        (["run", "--trace-level", "s"], {"steps", "summary"}),
        (["show", "runs/a-1", "--set", "user.preset="], {"paper_v2"}),
        (["compare", "--vary", "policy.scheduling=vllm_v1,sa"], {"policy.scheduling=vllm_v1,sarathi"}),
        (["capacity", "--target", "ttft_p"], {"ttft_p99", "ttft_p50"}),
        (["capacity", "--target", "sta"], {"stable"}),
        (["show", ""], {"runs/a-1", "runs/deep/b"}),
        (["explain", "elsewhere/"], {"elsewhere/c"}),
        (["compare", "runs/a-1", ""], {"runs/deep/b", "chat.toml"}),
        (["export", "runs/a-1", "--to", "v"], {"vllm_bench"}),
        (["inspect", "x", "--format", "moon"], {"mooncake"}),
        (["profile", "show", "h2"], {"h200-sxm"}),
        (["list", "po"], {"policies"}),
        (["reproduce", "fig1"], {"fig1", "fig10"}),
        (["cap"], {"capacity"}),
    ],
)
def test_bash_is_offered_what_fits(ask, words, offered):
    found = ask(*words)
    assert offered <= set(found) or {each.rpartition("=")[2] for each in offered} <= set(found), found
    if words[-1] and "=" not in words[-1]:
        assert all(each.startswith(words[-1]) for each in found), found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_whole_words(ask, shell):
    assert "hardware.gpu=h100-80gb-sxm" in " ".join(ask("run", "--set", "hardware.gpu=h1", shell=shell))
    assert "capacity" in " ".join(ask("cap", shell=shell))


def test_every_key_is_offered_and_every_value_taken():
    keys = completion._known()["keys"]
    for key, values in keys.items():
        for value in (
            values
            if key.startswith(("policy.scheduling", "policy.routing", "hardware.", "user.pre", "run.trace"))
            else ()
        ):
            assert Scenario().with_overrides([f"{key}={value}"])
    tables = Scenario().to_tables()
    for section in ("hardware", "engine", "user", "slo", "run", "policy"):
        assert {f"{section}.{name}" for name in tables.get(section, ())} <= set(keys)


def test_the_second_time_is_quick_and_imports_nothing_heavy(ask, tmp_path):
    ask("run", "--set", "hardware.gpu=")
    code = (
        "import os, sys, time; os.environ['XDG_CACHE_HOME'] = sys.argv[1]\n"
        "from simulator.cli import completion\n"
        "assert 'hardware.gpu=l4' in completion.settings('hardware.gpu=')\n"
        "assert 'ttft_p99' in completion.targets('ttft')\n"
        "print([name for name in ('numpy', 'pydantic', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    began_s = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cache"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert process.stdout.strip() == "[]"
    assert time.perf_counter() - began_s < 2


def test_a_cache_that_is_damaged_or_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "servesim").mkdir()
    (tmp_path / "servesim" / "completion.json").write_text("{")
    assert completion.settings("seed") == ["seed=0"]
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert completion.settings("seed") == ["seed=0"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_there_for_each_shell(shell):
    env = {**os.environ, "_SERVESIM_COMPLETE": f"source_{shell}", "PYTHONPATH": str(ROOT)}
    script = subprocess.run(
        [sys.executable, "-m", "simulator.cli.main"], capture_output=True, text=True, env=env, check=False
    ).stdout
    assert "_SERVESIM_COMPLETE" in script
    assert f"complete_{shell}" in script


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in an empty folder whose home has one, too, and no shell asks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("_SERVESIM_COMPLETE_KEY", "SERVESIM_RUNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_variants_are_offered_from_the_key_on(folder):
    assert "policy.routing=" in completion.variants("policy.r")
    first = completion.variants("policy.routing=random,round")
    assert first == ["policy.routing=random,round_robin"]
    assert not any("random,random" in each for each in completion.variants("policy.routing=random,"))


def test_keys_are_offered_until_one_is_left(folder):
    assert {"policy.routing=", "policy.roles="} <= set(completion.settings("policy.ro"))
    assert "policy.routing=least_loaded" in completion.settings("policy.rou")


def test_models_are_those_that_are_shipped(folder):
    assert completion.models("llama-3.1") == ["llama-3.1-70b", "llama-3.1-8b"]


def test_runs_are_looked_for_so_deep_and_not_in_parts_of_studies(folder):
    for name in ("a", "b/c", "study/points/d", "study/cache/e", "1/2/3/4/deep"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "manifest.json").write_text("{}")
    assert completion.runs("") == ["runs/a", "runs/b/c"]
    assert completion.runs("runs/1/2/3/") == ["runs/1/2/3/4/deep"]


def test_what_was_kept_of_other_code_is_made_anew(folder):
    kept = folder / "cache" / "servesim" / "completion.json"
    kept.parent.mkdir(parents=True)
    kept.write_text('{"of": "others", "keys": {"old.key": []}, "metrics": []}')
    assert completion.settings("old.k") == []
    assert '"old.key"' not in kept.read_text()


def test_words_behind_the_cursor_are_no_part_of_the_question(folder, monkeypatch):
    monkeypatch.setenv("_SERVESIM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "servesim run --set seed = 1 --out x")
    monkeypatch.setenv("COMP_CWORD", "5")
    monkeypatch.setenv("_SERVESIM_COMPLETE_KEY", "")
    completion.join_words()
    assert os.environ["COMP_WORDS"].split(" ")[int(os.environ["COMP_CWORD"])] == "1"
    assert os.environ["COMP_WORDS"] == "servesim run --set 1 --out x"
    assert os.environ["_SERVESIM_COMPLETE_KEY"] == "seed"
