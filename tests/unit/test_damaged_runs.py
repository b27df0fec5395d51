"""Saved runs with a damaged file, or of an earlier version: each command gives what it should or one sentence."""

import json
import random
import re
import warnings

import pyarrow.parquet as pq
import pytest

from simulator import InputError, Result, Scenario, run
from simulator.cli import main as cli
from tests.saved_faults import damage, unseal

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 20, "lengths": "chat_azure2023"}
LEVELS = ("tokens", "steps", "requests", "summary")
CASES = 25
FORMATS = ("csv", "perfetto", "vllm_bench", "otel", "aiperf", "guidellm", "prometheus", "mooncake")


@pytest.fixture(scope="module", params=LEVELS)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    run(Scenario(workload=CHAT, run={"trace_level": request.param})).save(folder)
    return folder


def test_a_damaged_folder_is_read_or_refused_in_one_sentence(saved, tmp_path, capsys):
    rng = random.Random(saved.parent.name)
    refused = 0
    for i in range(CASES):
        folder = tmp_path / "damaged"
        what = damage(folder, saved, rng)
        out = str(tmp_path / f"out{i}")
        for command in (
            ["show", str(folder)],
            ["explain", str(folder)],
            ["compare", str(folder), str(saved)],
            ["export", str(folder), "--to", rng.choice(FORMATS), "--out", out],
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                code = cli.main(command)
            error = capsys.readouterr().err
            assert code in (0, 2), (command, what)
            assert code == 0 or error.count("\n") == 1, (command, what, error)
            refused += code == 2
    assert refused


def test_another_value_in_a_table_or_manifest_is_found(saved):
    path = saved / "manifest.json"
    text = path.read_text()
    manifest = json.loads(text)
    manifest["end_of_run_s"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json: changed since it was saved"):
        Result.load(saved)
    path.write_text(text)
    for table in sorted(saved.glob("*.parquet")):
        data = table.read_bytes()
        pq.write_table(pq.read_table(table), table, compression="gzip")
        with pytest.raises(InputError, match=rf"{table.name}: changed since it was saved"):
            Result.load(saved)
        table.write_bytes(data)
    assert Result.load(saved).summary()


def test_a_run_without_a_value_of_this_version_names_both_versions(tmp_path):
    run(Scenario(workload=CHAT, run={"trace_level": "requests"})).save(tmp_path / "r")
    unseal(tmp_path / "r")
    path = tmp_path / "r" / "requests.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["qoe.qoe"]), path)
    older = Result.load(tmp_path / "r")
    assert older.requests().num_rows == 20
    said = r"saved by servesim \S+.* without qoe\.qoe, which servesim .* makes of tokens that were not saved"
    with pytest.raises(InputError, match=said) as error:
        older.summary()
    assert not re.search("\n", str(error.value))
