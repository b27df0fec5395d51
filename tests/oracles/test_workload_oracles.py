"""What prompts repeat: known shares of shipped traffic, and the engine that finds them."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator import Scenario, run
from simulator.workload import Workload, WorkloadSpec, build, library

FILE = library.shipped_traces()["agentic_coding"]
AGENTIC = {"trace": "agentic_coding", "rate_rps": 0.1}
SHAREGPT = {"trace": "sharegpt_multiturn", "rate_rps": 0.5, "think_s": 10.0}


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def turns(workload: Workload) -> dict[int, list[int]]:
    """The requests of each session, in the order of the rows."""
    found: dict[int, list[int]] = {}
    for i, session in enumerate(workload.session.tolist()):
        found.setdefault(session, []).append(i)
    return found


def tokens(segments) -> list[tuple[int, int]]:
    """Every token of a prompt by what makes it equal to another: stream and position."""
    streams = [stream for stream, count in segments for _ in range(count)]
    return list(zip(streams, range(len(streams)), strict=True))


def common(one, other) -> int:
    """How many tokens two prompts begin alike with."""
    found = 0
    for (stream, count), (other_stream, other_count) in zip(one, other, strict=False):
        if stream != other_stream:
            break
        found += min(count, other_count)
        if count != other_count:
            break
    return found


# What is known of the traffic


def test_mooncake_blocks_found_by_an_unlimited_cache_are_64_percent():
    workload = make(trace="mooncake_fast25_synthetic")
    seen: set[int] = set()
    hits = blocks = hit_tokens = 0
    for segments in workload.segments:
        name, position, so_far = 0, 0, []
        for stream, count in segments:
            while count:
                room = min(count, 512 - position % 512)
                name, position, count = hash((name, stream, position)), position + room, count - room
                if position % 512 == 0 or position == sum(n for _, n in segments):
                    so_far.append((name, room))
        found = 0
        while found < len(so_far) and so_far[found][0] in seen:
            found += 1
        seen.update(name for name, _ in so_far)
        hits += found
        blocks += len(so_far)
        hit_tokens += sum(count for _, count in so_far[:found])
    assert hits / blocks == pytest.approx(0.640, abs=0.0005)
    assert hit_tokens / workload.prompt_tokens.sum() == pytest.approx(0.651, abs=0.0005)


@pytest.fixture(scope="module")
def agentic():
    return make(**AGENTIC)


def test_agents_repeat_96_percent_of_the_prompt_before(agentic):
    assert len(agentic) == 36_644
    assert len(turns(agentic)) == 595
    assert [sum(n for _, n in each) for each in agentic.segments] == agentic.prompt_tokens.tolist()
    reused = sum(
        common(agentic.segments[i], agentic.segments[j]) // 64 * 64
        for rows in turns(agentic).values()
        for i, j in pairwise(rows)
    )
    assert reused / agentic.prompt_tokens.sum() == pytest.approx(0.9616, abs=0.00005)


def test_block_ids_are_local_to_a_recorded_session_which_subagents_share():
    recorded = pq.read_table(FILE)["session_id"].to_pylist()
    owners: dict[int, set[int]] = {}
    agents: dict[int, set[int]] = {}
    workload = make(trace="agentic_coding", concurrency=1)  # in the order of the file
    for session, agent, segments in zip(recorded, workload.session.tolist(), workload.segments, strict=True):
        for stream, _ in segments:
            owners.setdefault(stream, set()).add(session)
            agents.setdefault(stream, set()).add(agent)
    assert {len(each) for each in owners.values()} == {1}
    assert max(map(len, agents.values())) > 1


def test_agents_think_as_recorded_and_subagents_start_in_their_session(agentic):
    table = pq.read_table(FILE)
    recorded = np.sort(np.array(table["think_time_s"].to_pylist(), float))
    assert np.array_equal(np.sort(agentic.think_s), recorded, equal_nan=True)
    assert np.isnan(agentic.think_s).sum() == 595
    gaps = [agentic.arrival_s[rows[0]] for rows in turns(agentic).values()]
    assert len(set(gaps)) > 550
    half = make(trace="agentic_coding", rate_rps=0.05)
    plain = [rows[0] for rows in turns(half).values()]
    assert half.arrival_s[plain[0]] == pytest.approx(2 * agentic.arrival_s[0])


def test_a_turn_repeats_the_prompt_and_the_answer_before_it():
    workload = make(**SHAREGPT, limit=400)
    assert len(workload) == 400
    repeated = 0
    for rows in turns(workload).values():
        assert tokens(workload.segments[rows[0]]) == [
            (-1 - rows[0], position) for position in range(workload.prompt_tokens[rows[0]])
        ]
        for i, j in pairwise(rows):
            before, now = tokens(workload.segments[i]), tokens(workload.segments[j])
            assert len(now) == workload.prompt_tokens[j]
            end = len(before) + int(workload.output_tokens[i])
            answer = [(int(workload.output_stream[i]), at) for at in range(len(before), end)]
            assert now[: len(before)] == before
            assert now[len(before) : end] == answer
            assert {stream for stream, _ in now[end:]} <= {-1 - i, -1 - j}
            assert now[-1] == (-1 - j, len(now) - 1)
            assert len(now) > end
            repeated += end
    assert repeated / workload.prompt_tokens.sum() > 0.95


def test_the_whole_of_sharegpt_repeats_98_percent():
    workload = make(**SHAREGPT)
    rows = turns(workload)
    assert (len(workload), len(rows)) == (61_195, 9_434)
    fresh = sum(segments[-1][1] for segments in workload.segments)
    assert 1 - fresh / workload.prompt_tokens.sum() == pytest.approx(0.9854, abs=0.0001)


# Through the engine

CACHING = {"scheduling": {"name": "vllm_v1", "engine_version": "0.11.0", "enable_prefix_caching": True}}


@pytest.mark.parametrize(
    ("keys", "answers"),
    [
        ({"trace": "agentic_coding", "limit": 150, "max_prompt_tokens": 100_000, "rate_rps": 0.001}, False),
        ({**SHAREGPT, "limit": 200, "max_prompt_tokens": 20_000, "rate_rps": 0.01, "think_s": 60.0}, True),
    ],
)
def test_the_engine_finds_what_a_session_repeats_in_a_cache_that_never_fills(keys, answers):
    """All full blocks of 16 of the prompt before and, where it comes back, of the answer but its last token."""
    scenario = Scenario(policy=CACHING, engine={"num_gpu_blocks": 200_000}, workload=keys)
    workload = build(scenario.workload, 0)
    before: dict[int, int] = {}  # the last row of each session
    found = 0
    for j, (session, segments) in enumerate(zip(workload.session.tolist(), workload.segments, strict=True)):
        known = max((common(earlier, segments) for earlier in workload.segments[:j]), default=0)
        if answers and session in before:
            known = int(workload.prompt_tokens[before[session]] + workload.output_tokens[before[session]]) - 1
        before[session] = j
        found += min(known, int(workload.prompt_tokens[j]) - 1) // 16 * 16
    engine = run(scenario).summary()["engine"]
    assert engine["preemptions"] == 0
    assert engine["prefix_looked_up_tokens"] == workload.prompt_tokens.sum()
    assert engine["prefix_hit_tokens"] == found
