"""``servesim.tune``: what the command finds, as Python values; what is refused."""

import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

import servesim
from policies.scheduling.vllm_v1 import VllmV1
from servesim import InputError, Scenario
from tests.commands import servesim as command
from tests.unit.test_functions import as_found

TRAFFIC = {"arrivals": "poisson", "rate_rps": 6.0, "requests": 20, "prompt_tokens": 400, "output_tokens": 40}
BASE = Scenario(name="<b>t", hardware={"gpu": "a100-40gb"}, engine={"max_num_seqs": 1}, workload=TRAFFIC)
SPACE = {"engine": {"max_num_seqs": {"from": 2, "to": 64, "scale": "log"}}}
HOW = {"method": "random", "trials": 5, "checks": 2}


def test_a_search_finds_what_the_command_finds(tmp_path, capsys):
    done, target = [], "ttft_p99 <= 0.5"
    found = servesim.tune(
        BASE,
        SPACE,
        target=target,
        jobs=1,
        out=tmp_path,
        on_progress=lambda *counts: done.append(counts),
        **HOW,
    )
    as_found(found, 6)
    assert done[-1] == (10, 10)
    assert found.keeps
    assert found.scenario.engine.max_num_seqs == found.settings["engine.max_num_seqs"]
    assert found.difference is not None
    assert isinstance(found.figure(), Figure)
    file = tmp_path / "t.toml"
    file.write_text(BASE.to_toml())
    how = ["--method", "random", "--trials", "5", "--checks", "2", "--jobs", "1", "--out", tmp_path]
    said = command(capsys, "tune", file, "--space", "engine.max_num_seqs=2..64:log", "--target", target, *how)
    assert str(found) == said
    assert pq.read_table(tmp_path / "tune.parquet").equals(found.table)


def test_where_all_fail_there_is_no_scenario():
    found = servesim.tune(BASE, SPACE, settings={"hardware.model": "llama-3.1-70b"}, jobs=1, **HOW)
    as_found(found, 6)
    assert (found.settings, found.keeps, found.scenario, found.difference) == ({}, False, None, None)
    with pytest.raises(InputError, match="figure: all 5 trials failed"):
        found.figure()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"space": None}, "space: expected a dict of scenario keys with values or ranges, got None"),
        ({"space": {}}, "space: expected a dict of scenario keys with values or ranges, got {}"),
        ({"space": {"engine.max_num_seqs": 3}}, "space.engine.max_num_seqs: expected a list of values"),
        ({"space": {"engine.seats": [1, 2]}}, "space engine.seats: engine.seats: unknown key"),
        ({"space": {"policy.scheduling": [VllmV1, "smooth"]}}, "space.policy.scheduling: policies given as classes"),
        ({"space": {"seed": [1, 2]}}, "space: seed: the best of several seeds is luck"),
        ({"method": "guess"}, "method guess: expected one of tba-tpe, tpe, tpe-multivariate, random"),
        ({"trials": 0}, "trials 0: expected a whole number from 1"),
        ({"checks": -1}, "checks: expected a whole number >= 0, got -1"),
        ({"seed": None}, "seed: expected a whole number >= 0, got None"),
        ({"longest_s": -1}, "longest_s -1: expected seconds above 0"),
        ({"longest_s": "long"}, "longest_s: expected seconds or None, got 'long'"),
        ({"target": 5}, "target: expected a bound or a list of them, got 5"),
        ({"objective": "joy"}, "objective: no number 'joy'"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_is_refused(more, said):
    with pytest.raises(InputError) as refused:
        servesim.tune(BASE, **{"space": SPACE, "method": "random", **more})
    assert str(refused.value).startswith(said)
