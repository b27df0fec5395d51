"""Spans of a run: our reader of OpenTelemetry traces gives its requests back, and phases fill them without a gap."""

import json
from itertools import pairwise

import numpy as np
import pytest

from simulator import InputError, Result, Scenario, run
from simulator.report.exports import export
from simulator.report.phases import Histories
from simulator.workload import build
from tests.unit.test_phases import CHAT, KINDS

SESSIONS = {
    "arrivals": "poisson", "rate_rps": 2.0, "requests": 40, "lengths": "chat_azure2023", "session_turns": 4,
    "think_s": 2.0,
}  # fmt: skip


def spans_of(result, tmp_path, **options):
    path = tmp_path / "spans.json"
    export(result, "otel", path, options)
    ((resource,),) = json.loads(path.read_text()).values()
    (scope,) = resource["scopeSpans"]
    return path, scope["spans"]


def value(span, key):
    (found,) = (each["value"] for each in span["attributes"] if each["key"] == key)
    ((kind, inner),) = found.items()
    return int(inner) if kind == "intValue" else inner


@pytest.mark.parametrize("kind", [*KINDS, "sessions"])
def test_phases_fill_each_request_and_numbers_are_unique(kind, tmp_path):
    result = run(Scenario(**{"workload": SESSIONS if kind == "sessions" else CHAT} | KINDS.get(kind, {})))
    _, spans = spans_of(result, tmp_path)
    own = {span["spanId"]: span for span in spans if "parentSpanId" not in span}
    assert len(own) == result.log.n
    assert len({span["spanId"] for span in spans}) == len(spans)
    assert all(len(span["spanId"]) == 16 and len(span["traceId"]) == 32 for span in spans)
    histories, below = Histories.of(result), {}
    for span in spans:
        if "parentSpanId" in span:
            below.setdefault(span["parentSpanId"], []).append(span)
            assert span["traceId"] == own[span["parentSpanId"]]["traceId"]
    for request, (number, span) in enumerate(own.items()):
        phases = below.get(number, [])
        assert [each["name"] for each in phases] == [each.doing for each in histories.phases(request)]
        assert all(one["endTimeUnixNano"] == other["startTimeUnixNano"] for one, other in pairwise(phases))
        if phases and np.isfinite(result.log.end_s[request]):
            assert phases[0]["startTimeUnixNano"] == span["startTimeUnixNano"]
            assert phases[-1]["endTimeUnixNano"] == span["endTimeUnixNano"]
        assert value(span, "gen_ai.usage.output_tokens") == result.log.token_counts[request]
        completed = result.log.completed[request]
        assert span["status"].get("code") == (None if completed else 2)


@pytest.mark.parametrize("workload", [CHAT, SESSIONS, {"trace": "azure2023_code", "limit": 100}])
@pytest.mark.parametrize("level", ["tokens", "requests"])
def test_our_reader_gives_arrivals_and_lengths_back(workload, level, tmp_path):
    result = run(Scenario(workload=workload, run={"trace_level": level}))
    result.save(tmp_path / "r")
    path, spans = spans_of(Result.load(tmp_path / "r"), tmp_path, start_unix_s=1.7e9)
    assert (len(spans) > result.log.n) == (level == "tokens")
    again = build(Scenario(workload={"trace": str(path)}).workload, 0)
    log = result.log
    assert np.abs(again.arrival_s - (log.arrival_s - log.arrival_s[0])).max() < 2e-9
    assert again.prompt_tokens.tolist() == log.prompt_tokens.tolist()
    assert again.output_tokens.tolist() == log.output_tokens.tolist()
    if workload is SESSIONS:
        sessions = result.requests()["session"].to_pylist()
        assert len({*zip(sessions, again.session.tolist(), strict=True)}) == len({*sessions})


def test_a_start_that_is_no_time_is_refused(tmp_path):
    result = run(Scenario(workload=CHAT))
    for start in (-1, float("nan"), 1e18, "now", True):
        with pytest.raises(InputError, match="start_unix_s: expected seconds since 1970"):
            export(result, "otel", tmp_path / "x", {"start_unix_s": start})
    assert not (tmp_path / "x").exists()
