"""Records that do not fit together, tokens that are not there, readers too slow for any server, numbers of classes."""

from dataclasses import replace

import numpy as np
import pytest

from simulator import InputError, Result, Scenario
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics import fluid_rate as rate
from simulator.metrics._streamed import NoTokensError
from simulator.results.vocabulary import key_of, known, measure_of
from simulator.scenario.resolve import resolve_pool
from tests import run_kinds

LOG = RequestLog.from_lists([0.0, 1.0], [[0.5, 0.6], [1.5]])


def test_columns_of_a_record_are_as_long_as_it_is():
    with pytest.raises(ValueError, match="ttft_slo_s has 3 rows, arrival_s has 2"):
        replace(LOG, ttft_slo_s=np.ones(3))
    with pytest.raises(ValueError, match="token_offsets must not descend"):
        replace(LOG, token_offsets=np.array([0, 4, 3]))


def test_tokens_that_were_not_saved_are_missed_in_a_sentence(tmp_path):
    run_kinds.made("plain", "requests").save(tmp_path)
    log = Result.load(tmp_path).log
    assert log.ttft_s.shape == (60,)
    for asked in (lambda: list(log.parts()), lambda: log.delivered_s):
        with pytest.raises(
            NoTokensError, match="the tokens of this run were not saved; expected a run with trace"
        ):
            asked()
    assert not hasattr(log, "no_such_column")


@pytest.mark.parametrize(
    ("tokens_s", "rate_tokens_per_s"), [([0.0] * 50, rate.FASTEST), ([1e6 * i for i in range(1, 51)], None)]
)
def test_the_rate_of_reading_has_ends(tokens_s, rate_tokens_per_s):
    """Who has all tokens at once can be read at any speed; who waits days for each at none."""
    log = RequestLog.from_lists([0.0] * 3, [tokens_s] * 3)
    assert rate.measure(log, UserModel(), Slo())["tokens_per_s"] == rate_tokens_per_s


def test_numbers_of_a_class_have_names_behind_it():
    classes = {"chat": {"ttft_s": 0.5}, "tools": {}}
    found = known(UserModel(), Slo(), classes)
    assert found["classes.chat.slo.attainment.ttft_s"]
    assert not found.get("classes.tools.slo.attainment.ttft_s")
    assert found["classes.tools.latency.ttft_s.p99"]
    assert not any(key.startswith(("classes.chat.cost.", "classes.chat.engine.")) for key in found)
    assert key_of("classes.chat.ttft_p99") == "classes.chat.latency.ttft_s.p99"
    own, of_all = measure_of("classes.chat.ttft_p99"), measure_of("ttft_p99")
    assert (own.key, own.label) == ("classes.chat.latency.ttft_s.p99", f"chat: {of_all.label}")
    assert (own.unit, own.higher_is_better) == (of_all.unit, of_all.higher_is_better)


def test_tiers_are_not_simulated_behind_stages():
    engine = {
        "pipeline_parallel_size": 2,
        "kv_offloading": {"tiers": [{"kind": "host", "capacity_gib": 1.0}]},
    }
    with pytest.raises(
        InputError, match=r"2 with engine\.kv_offloading\.tiers, which are not simulated behind"
    ):
        resolve_pool(Scenario(engine=engine))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"policy": {"routing": {"name": 3}}}, "policy.routing.name: expected a name in quotes, got 3"),
        (
            {
                "cluster": {
                    "faults": {
                        "events": [{"kind": "slow", "replica": 0, "at_s": 0.0, "for_s": 1.0, "factr": 2.0}]
                    }
                }
            },
            "cluster.faults.events.0.factr: unknown key",
        ),
    ],
)
def test_what_is_wrong_is_found_in_its_place(tables, said):
    with pytest.raises(InputError) as error:
        Scenario(**tables)
    assert str(error.value).startswith(said)


def test_a_benefit_of_nothing_is_not_negative_by_rounding():
    log = RequestLog.from_lists([0.0, 0.0], [[0.1 + 0.2], [0.31]])
    found = summarise(log, UserModel(v_s_per_token=0.1, alpha=5.0), Slo())["smooth_goodput"]
    # The first reader has a token and waited 0.2 s for it, at 5 tokens a second
    assert found["benefit_tokens_per_request"]["max"] == pytest.approx(0.0, abs=1e-12)
    assert found["share_of_arrived_with_negative_benefit"] == 0.5
