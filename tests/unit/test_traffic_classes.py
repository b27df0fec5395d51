"""Classes of requests: shares, lengths, readers and targets of each, and what results tell of each."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, _segments, summarise
from simulator.report.classes import measures_of_classes
from simulator.report.comparison import comparison
from simulator.report.report import report
from simulator.results import result, tokens
from simulator.results.result import Result
from simulator.workload import WorkloadSpec, build

CHAT = {"share": 0.6, "lengths": "chat_azure2023"}
TOOLS = {"share": 0.4, "prompt_tokens": 300, "output_tokens": 20}
POISSON = {"arrivals": "poisson", "rate_rps": 20.0}


def mix(classes, seed=0, **keys):
    by_share = "share" in next(iter(classes.values()))
    return build(WorkloadSpec(classes=classes, **(POISSON if by_share else {}), **keys), seed)


def rows(traffic, number):
    return np.flatnonzero(traffic.traffic_class == number)


@given(
    share=st.floats(0.05, 0.95),
    mean=st.floats(300, 3000),
    cv=st.floats(0.2, 1.2),
    p50=st.integers(50, 500),
    widening=st.floats(1.3, 6.0),
    seed=st.integers(0, 2**32),
)
def test_shares_means_and_quantiles_of_each_class_are_met(share, mean, cv, p50, widening, seed):
    n = 1500
    classes = {
        "a": {
            "share": share,
            "prompt_tokens": {"mean": mean, "cv": cv},
            "output_tokens": {"p50": p50, "p95": p50 * widening},
        },
        "b": {"share": 1 - share, "prompt_tokens": 7, "output_tokens": {"mean": 400, "range_ratio": 0.5}},
    }  # fmt: skip
    traffic = mix(classes, seed, requests=n)
    a, b = rows(traffic, 0), rows(traffic, 1)
    assert len(a) + len(b) == n
    assert stats.binomtest(len(a), n, share).pvalue > 1e-7
    prompts, answers = traffic.prompt_tokens[a], traffic.output_tokens[a]
    # the tail of a log-normal is heavy, so its logarithms are compared: log-normal is normal there
    sigma = np.sqrt(np.log1p(cv**2))
    logs = np.log(prompts)
    assert logs.mean() == pytest.approx(np.log(mean) - sigma**2 / 2, abs=6 * sigma / np.sqrt(len(a)) + 0.003)
    for level, tokens_ in ((0.5, p50), (0.95, p50 * widening)):
        below = int((answers <= tokens_).sum())
        assert stats.binomtest(below, len(a), level).pvalue > 1e-7 or abs(below / len(a) - level) < 0.02
    assert set(traffic.prompt_tokens[b]) <= {7}
    assert (traffic.output_tokens[b].min(), traffic.output_tokens[b].max()) >= (200, 200)
    assert traffic.output_tokens[b].max() <= 600
    assert np.all(np.diff(traffic.arrival_s) >= 0)
    # Poisson arrivals thinned by chance are Poisson in every class
    for own, rate in ((a, 20 * share), (b, 20 * (1 - share))):
        if len(own) > 50:
            gaps = np.diff(traffic.arrival_s[own])
            assert stats.kstest(gaps, stats.expon(scale=1 / rate).cdf).pvalue > 1e-7


def test_a_class_more_changes_none_of_what_another_draws():
    two = mix({"chat": CHAT, "tools": TOOLS}, requests=400)
    three = mix({"chat": CHAT | {"share": 0.3}, "new": TOOLS | {"share": 0.3}, "tools": TOOLS}, requests=400)
    assert two.arrival_s.tolist() == three.arrival_s.tolist()
    before, after = rows(two, 0), rows(three, 0)
    n = min(len(before), len(after))
    assert n > 80
    for column in ("prompt_tokens", "output_tokens"):
        assert getattr(two, column)[before[:n]].tolist() == getattr(three, column)[after[:n]].tolist()


def test_classes_with_arrivals_of_their_own_are_as_alone():
    own = {
        "web": {
            "arrivals": "gamma",
            "burstiness": 0.5,
            "rate_rps": 3.0,
            "duration_s": 60.0,
            "lengths": "chat_azure2023",
        },
        "night": {"trace": "azure2023_code", "limit": 50, "rate_scale": 2.0, "priority": 4},
        "agents": {"trace": "sharegpt_multiturn", "rate_rps": 0.5, "think_s": 2.0, "limit": 60},
    }  # fmt: skip
    together = mix(own, seed=3)
    assert len(together) == len(together.arrival_s)
    for number, (name, keys) in enumerate(own.items()):
        alone, found = mix({name: keys}, seed=3), rows(together, number)
        for column in ("arrival_s", "prompt_tokens", "output_tokens", "think_s"):
            one, other = getattr(alone, column), getattr(together, column)
            if one is not None:
                np.testing.assert_array_equal(one, other[found])
    assert set(together.priority[rows(together, 1)]) == {4}
    assert set(together.priority[rows(together, 0)]) == {0}
    recorded = build(WorkloadSpec(trace="azure2023_code", limit=50, rate_scale=2.0), 0)
    np.testing.assert_array_equal(recorded.arrival_s, together.arrival_s[rows(together, 1)])


def test_prompts_of_a_class_share_what_they_shared_alone_and_nothing_with_others():
    own = {
        "mooncake": {"trace": "mooncake_fast25_synthetic", "limit": 40},
        "chats": {"trace": "sharegpt_multiturn", "rate_rps": 2.0, "think_s": 1.0, "limit": 40},
        "plain": {"trace": "azure2023_conv", "limit": 20},
    }
    together = mix(own)
    segments = list(together.segments)
    streams: list[set[int]] = []
    for number, (name, keys) in enumerate(own.items()):
        alone, found = mix({name: keys}), rows(together, number)
        named: dict[int, int] = {}
        for i, row in enumerate(found.tolist()):
            expected = (
                alone.segments[i] if alone.segments is not None else ((-1 - i, int(alone.prompt_tokens[i])),)
            )
            assert [size for _, size in segments[row]] == [size for _, size in expected]
            for (stream, _), (other, _) in zip(expected, segments[row], strict=True):
                assert named.setdefault(stream, other) == other
        assert len(set(named.values())) == len(named)
        for i, row in enumerate(found.tolist()):  # the own stream of a prompt is that of its answer
            if -1 - i in named:
                assert named[-1 - i] == together.output_stream[row]
        streams.append(set(named.values()))
    assert not streams[0] & streams[1]
    assert not streams[2] & (streams[0] | streams[1])


def scenario(**more):
    classes = {
        "chat": CHAT | {"v_s_per_token": 0.05, "first_token_allowance_s": 1.0, "slo": {"ttft_s": 0.5, "tpot_s": 0.05}},
        "think": {"share": 0.2, "prompt_tokens": 200, "output_tokens": 300, "thinking": [[1.0, 100.0]], "tenant": 2},
        "tools": TOOLS | {"share": 0.2, "session_turns": 3.0, "think_s": 0.5, "v_s_per_token": 0.0, "priority": 1},
    }  # fmt: skip
    keys = {
        "workload": {**POISSON, "rate_rps": 12.0, "requests": 150, "classes": classes},
        "slo": {"e2e_s": 5.0},
    }
    return Scenario(**keys, user={"alpha": 5.0}, **more)


@pytest.fixture(scope="module")
def ran():
    return run(scenario())


def test_metrics_of_a_class_are_those_of_its_requests_alone(ran):
    summary, requests = ran.summary(), ran.requests().to_pydict()
    times = ran.tokens().to_pandas().groupby("request_id")["delivered_s"].apply(list).to_dict()
    of = np.array(requests["traffic_class"])
    assert set(of) == {0, 1, 2}
    log = ran.measured
    slos = {"chat": Slo(ttft_s=0.5, tpot_s=0.05, e2e_s=5.0), "think": Slo(e2e_s=5.0), "tools": Slo(e2e_s=5.0)}
    for number, (name, slo) in enumerate(slos.items()):
        own = np.flatnonzero(of == number)
        v_s, s_s, thinking = {0: (0.05, 1.0, -1), 1: (None, 0.0, 100), 2: (0.0, 0.0, -1)}[number]
        expected = RequestLog.from_lists(
            [requests["arrival_s"][i] for i in own],
            [times.get(i, []) for i in own],
            prompt_tokens=[requests["prompt_tokens"][i] for i in own],
            output_tokens=[requests["output_tokens"][i] for i in own],
            v_s_per_token=None if v_s is None else [v_s] * len(own),
            thinking_tokens=[thinking] * len(own),
            start_s=log.start_s,
            end_of_run_s=log.end_of_run_s,
        )
        end_s = np.array([requests["end_s"][i] for i in own])
        user = replace(ran.user, first_token_allowance_s=s_s)
        found = summarise(replace(expected, end_s=end_s), user, slo)
        mine = summary["classes"][name]
        for family in ("latency", "slo", "token_slo", "idle_latency", "states"):
            expected_family = {k: v for k, v in found[family].items() if k != "first_token_allowance_s"}
            for key, value in expected_family.items():
                same = mine[family][key] == value
                assert same or mine[family][key] == pytest.approx(value, rel=1e-9), (name, family, key)


def test_the_whole_is_the_sum_of_its_classes(ran):
    summary = ran.summary()
    classes = summary["classes"].values()
    for keys in (
        ("states", "arrived"), ("token_slo", "requests_meeting"), ("slo", "requests_meeting_all"),
        ("slo", "goodput_requests_per_s"), ("smooth_goodput", "smooth_goodput_tokens_per_s"),
        ("throughput", "output_tokens_per_s"),
    ):  # fmt: skip
        family, key = keys
        assert sum(each[family][key] for each in classes) == pytest.approx(summary[family][key]), keys
    met = summary["slo"]["requests_meeting_all"]
    assert summary["slo"]["attainment_all"] == met / summary["states"]["arrived"]


def test_a_saved_run_and_one_in_parts_say_the_same_of_classes(ran, tmp_path, monkeypatch):
    ran.save(tmp_path / "run")
    assert Result.load(tmp_path / "run").summary()["classes"] == ran.summary()["classes"]
    for file in (tokens, result):
        monkeypatch.setattr(file, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 700)
    parts = run(scenario())
    for name, each in ran.summary()["classes"].items():
        for family in ("states", "slo", "idle_latency", "smooth_goodput", "throughput", "qoe"):
            assert parts.summary()["classes"][name][family] == each[family]
    fewer = run(scenario(run={"trace_level": "requests"}))
    fewer.save(tmp_path / "fewer")
    found = Result.load(tmp_path / "fewer").summary()["classes"]
    assert found["chat"]["slo"] == ran.summary()["classes"]["chat"]["slo"]


def test_reports_and_comparisons_name_the_classes(ran):
    text = str(report(ran.manifest, ran.summary()))
    for name in ("chat", "think", "tools"):
        assert f"\n{name} " in text
    table = str(comparison(["one", "two"], [ran.summary(), ran.summary()]))
    assert "chat: SLO attainment" in table
    assert len(measures_of_classes([ran.summary()])) == 3 * 7
    other = run(Scenario(workload={"trace": "azure2023_conv", "limit": 20}))
    assert measures_of_classes([ran.summary(), other.summary()]) == []
    assert "classes" not in other.summary()


def test_equal_seeds_give_equal_traffic_and_others_do_not():
    one, two, three = (mix({"chat": CHAT, "tools": TOOLS}, seed, requests=50) for seed in (1, 1, 2))
    assert one.prompt_tokens.tolist() == two.prompt_tokens.tolist()
    assert one.arrival_s.tolist() != three.arrival_s.tolist()


def test_a_class_that_nothing_arrives_of_is_said():
    classes = {"chat": CHAT | {"share": 0.999}, "rare": TOOLS | {"share": 0.001}}
    assert "rare: none arrives" in mix(classes, requests=3).source
    found = run(Scenario(workload={**POISSON, "requests": 3, "classes": classes})).summary()["classes"]
    assert (found["chat"]["states"]["arrived"], found["rare"]["states"]["arrived"]) == (3, 0)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"classes": {}}, r"workload\.classes: empty"),
        ({"classes": {"a.b": CHAT}}, r"workload\.classes: 'a\.b' found; expected names"),
        ({"classes": {"a": CHAT}}, r"workload\.classes: expected shares that add up to 1"),
        ({"classes": {"a": CHAT, "b": {"trace": "azure2023_conv"}}}, r"workload\.classes\.b\.share: missing"),
        ({"classes": {"a": CHAT, "b": TOOLS | {"rate_rps": 1.0}}}, r"classes\.b\.rate_rps: given together with share"),
        ({"classes": {"a": CHAT, "b": TOOLS | {"trace": "azure2023_code"}}}, r"classes\.b\.trace: given together"),
        ({"classes": {"a": CHAT, "b": {"share": 0.4}}}, r"workload\.classes\.b\.lengths: missing"),
        ({"classes": {"a": CHAT, "b": TOOLS}, "tenants": [1.0]}, r"workload\.tenants: given beside workload\.classes"),
        ({"classes": {"a": CHAT, "b": TOOLS}, "concurrency": 3}, r"workload\.concurrency: given beside"),
        ({"classes": {"a": CHAT, "b": TOOLS | {"tenant": 1, "tenants": [1.0]}}}, r"b\.tenant: given together"),
        ({"classes": {"a": CHAT, "b": TOOLS | {"think_s": 1.0}}}, r"workload\.classes\.b\.session_turns: missing"),
        ({"classes": {"a": CHAT, "b": TOOLS | {"v_s_per_token": 1e-20}}}, r"b\.v_s_per_token: expected 0 or at least"),
    ],
)  # fmt: skip
def test_misuse_is_one_sentence_with_the_key(keys, problem):
    with pytest.raises(ValueError, match=problem):
        WorkloadSpec(**POISSON, requests=10, **keys)


def test_what_is_only_found_when_traffic_is_made_names_the_class_too(tmp_path):
    with pytest.raises(InputError, match=r"^workload\.classes\.b\.lengths: no file 'nix'"):
        mix({"a": CHAT, "b": {"share": 0.4, "lengths": "nix"}}, requests=10)
    with pytest.raises(
        InputError, match=r"workload\.classes a, b: request \d+ has a prompt of 900000 tokens"
    ):
        run(
            Scenario(
                workload={
                    **POISSON,
                    "requests": 9,
                    "classes": {"a": CHAT, "b": TOOLS | {"prompt_tokens": 900_000}},
                }
            )
        )
    own = tmp_path / "t.csv"
    own.write_text("arrival_s,prompt_tokens,output_tokens,priority\n0,5,5,1\n")
    with pytest.raises(
        InputError, match=r"workload\.classes\.a\.priority: .* says this itself, in column priority"
    ):
        mix({"a": {"trace": str(own), "priority": 2}})
    classes = {"a": CHAT, "b": TOOLS | {"first_token_allowance_s": 1.0}}
    with pytest.raises(InputError, match=r"user\.origin: 'first_token' with readers that have an S"):
        run(Scenario(workload={**POISSON, "requests": 9, "classes": classes}, user={"origin": "first_token"}))


def test_a_scenario_with_classes_is_written_and_read_back(tmp_path):
    from simulator.scenario import toml

    path = tmp_path / "again.toml"
    path.write_text(toml.write(scenario()))
    again = Scenario.from_toml(path)
    assert again.workload == scenario().workload
    assert "# rate_rps" not in path.read_text().partition("[workload.classes.chat]")[2].partition("[user]")[0]
