"""``inspect`` and ``score``: functions over files that users bring."""

import pytest
from matplotlib.figure import Figure

import servesim
from servesim import InputError
from simulator.report.exports import vllm_bench
from tests.commands import servesim as command
from tests.unit.test_functions import BASE, as_found


def test_a_file_of_requests(tmp_path, capsys):
    file = tmp_path / "<b>.csv"
    file.write_text("ts,in,out\n2026-01-01T00:00:00Z,10,5\n2026-01-01T00:00:01Z,20,6\n")
    columns = {"arrival": "ts:iso", "prompt": "in", "output": "out"}
    found = servesim.inspect(file, columns=columns)
    as_found(found, 2)
    assert found.rows[1] == {"arrival_s": 1.0, "prompt_tokens": 20, "output_tokens": 6}
    assert found.as_dict()["requests"] == 2
    assert isinstance(found.figure(), Figure)
    assert str(found) == command(capsys, "inspect", file, "--columns", "arrival=ts:iso,prompt=in,output=out")
    assert servesim.inspect("azure2023_conv").table.num_rows == 19_366
    with pytest.raises(InputError, match=r"no file 'none\.csv'"):
        servesim.inspect("none.csv")


def test_a_file_of_results(tmp_path, capsys):
    result, file = servesim.run(BASE), tmp_path / "bench.json"
    vllm_bench.export(result, file)
    found = servesim.score(file, settings={"slo.ttft_s": 0.5})
    as_found(found, 1)
    (name,) = found.results
    assert found.table["tool"].to_pylist() == [found.results[name].manifest["measured"]["tool"]]
    own = servesim.run(BASE.with_overrides(["slo.ttft_s=0.5"])).summary()
    assert found.summaries[name]["slo"]["attainment_all"] == own["slo"]["attainment_all"]
    assert str(found) == command(capsys, "score", file, "--set", "slo.ttft_s=0.5")
    assert repr(found.results[name]).startswith("<MeasuredResult ")
    assert servesim.score(file, file).table.num_rows == 2


def test_what_cannot_be_scored_is_refused(tmp_path):
    with pytest.raises(InputError, match="score: expected at least one file"):
        servesim.score()
    with pytest.raises(InputError, match=r"none.json: not found; expected a result file of a load test"):
        servesim.score(tmp_path / "none.json")
    with pytest.raises(
        InputError, match=r"settings: cluster.replicas=2: a saved run can be measured anew only in"
    ):
        servesim.score("a.json", settings={"cluster.replicas": 2})


def test_the_picture_of_a_run():
    assert isinstance(servesim.figure(servesim.run(BASE)), Figure)
