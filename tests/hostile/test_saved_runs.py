"""Saved runs that were changed by hand or by chance: ``servesim verify`` names the file, as does what reads them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from simulator.cli import main as cli
from simulator.results.sealed import FORMAT, seal, unsealed
from tests.refusals import TRACE, refusal


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "t.csv").write_text(TRACE + "0,50,5\n1,60,6\n")
    (folder / "s.toml").write_text('workload.trace = "t.csv"\n')
    assert (
        cli.main(["run", str(folder / "s.toml"), "--no-plot", "--quiet", "--out", str(folder / "run")]) == 0
    )
    return folder / "run"


@pytest.fixture
def run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, "run")
    return Path("run")


def resealed(run, change):
    """Change the manifest and give it new digests: all that reading it can find is what stands in it."""
    manifest = json.loads((run / "manifest.json").read_text())
    found = seal(unsealed(manifest), manifest["sha256"])
    change(found)
    own = {key: each for key, each in found.items() if key != "manifest_sha256"}
    found["manifest_sha256"] = seal_of(own)
    (run / "manifest.json").write_text(json.dumps(found))


def seal_of(values):
    from simulator.results import sealed

    return sealed._of_values(values)


def test_a_run_is_as_it_was_saved(run, capsys):
    capsys.readouterr()
    assert cli.main(["verify", "run"]) == 0
    files = "manifest.json, requests.parquet, steps.parquet, summary.json, tokens.parquet"
    said = capsys.readouterr().out
    assert said.startswith("run: ")
    assert set(files.split(", ")) <= set(said.strip().rpartition(": ")[2].split(", "))


@pytest.mark.parametrize("name", ["requests.parquet", "steps.parquet", "tokens.parquet", "summary.json"])
@pytest.mark.parametrize("where", [0, 10, -1])
def test_a_flipped_bit_is_found(run, name, where, capsys):
    data = bytearray((run / name).read_bytes())
    data[where] ^= 1
    (run / name).write_bytes(data)
    assert refusal(capsys, "verify", "run").startswith(f"run/{name}: changed since it was saved")


@pytest.mark.parametrize("name", ["requests.parquet", "steps.parquet", "tokens.parquet", "summary.json"])
@pytest.mark.parametrize("how", ["gone", "empty", "folder", "pipe", "other"])
def test_a_file_that_is_not_the_one_is_found(run, name, how, capsys):
    path = run / name
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "other":
        path.write_bytes(content + b"\n")
    assert refusal(capsys, "verify", "run").startswith(f"run/{name}: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not a readable JSON file"),
        ("[" * 100_000, "not a readable JSON file (nested too deeply)"),
        ("[]", "no digests found"),
        ("{}", "no digests found"),
        ("5", "no digests found"),
        ('{"sha256": 5}', "no digests found"),
        ('{"sha256": {"a": "b"}}', "no digests found"),
        ('{"sha256": {"a": "b"}, "manifest_sha256": "c"}', "changed since it was saved"),
        ('{"format": 99}', "a result of format 99; expected at most 1, or a newer servesim"),
        ('{"format": -1}', "a result of format -1; expected at most 1"),
        ('{"format": "1"}', "a result of format '1'; expected at most 1"),
    ],
    ids=lambda value: value[:20],
)
def test_a_manifest_that_is_none_is_named(run, text, sentence, capsys):
    (run / "manifest.json").write_text(text)
    said = refusal(capsys, "verify", "run")
    assert said.startswith("run/manifest.json: ")
    assert sentence in said


@pytest.mark.parametrize("command", ["show", "verify", "report", "explain"])
def test_a_newer_format_is_refused_by_number(run, command, capsys):
    resealed(run, lambda manifest: manifest.update(format=FORMAT + 1))
    assert f"a result of format {FORMAT + 1}, saved by servesim " in refusal(capsys, command, "run")


def test_an_older_one_is_read(run, capsys):
    resealed(run, lambda manifest: manifest.pop("format"))
    assert cli.main(["show", "run"]) == 0
    assert cli.main(["verify", "run"]) == 0
    capsys.readouterr()


def test_digests_are_of_files_beside_the_manifest(run, capsys):
    resealed(run, lambda manifest: manifest["sha256"].update({"../t.csv": "0"}))
    assert "a digest of '../t.csv'; expected names of files beside it" in refusal(capsys, "verify", "run")


def test_of_several_folders_all_that_are_wrong_are_named(run, capsys):
    capsys.readouterr()
    assert cli.main(["verify", "run", "gone", "run/manifest.json"]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("run: ")
    assert said.err.startswith("servesim: error: 2 of 3 folders: gone/manifest.json: not found")


@pytest.mark.parametrize("given", ["true", "2.0", "3", "0", "-1", "'2'"])
@pytest.mark.parametrize("key", ["engine", "cluster.prefill"])
def test_gpus_are_a_whole_number(key, given, capsys):
    assert f"{key}.tensor_parallel_size: expected one of 1, 2, 4 or 8, got" in refusal(
        capsys, "run", "--set", f"{key}.tensor_parallel_size={given}"
    )
