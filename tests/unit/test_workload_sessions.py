"""Sessions and clients that wait for answers: what is drawn, what stays when it is cut."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulator.workload import Workload, WorkloadSpec, build, library

FILE = library.shipped_traces()["agentic_coding"]
AGENTIC = {"trace": "agentic_coding", "rate_rps": 0.1}
SHAREGPT = {"trace": "sharegpt_multiturn", "rate_rps": 0.5, "think_s": 10.0}
DRAWN = {
    "arrivals": "poisson", "rate_rps": 0.5, "lengths": "chat_azure2023", "requests": 3000,
    "session_turns": 4.0, "think_s": 20.0,
}  # fmt: skip


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def written(tmp_path, *rows, name="t.csv") -> str:
    path = tmp_path / name
    path.write_text("\n".join([*rows, ""]))
    return str(path)


def turns(workload: Workload) -> dict[int, list[int]]:
    """The requests of each session, in the order of the rows."""
    found: dict[int, list[int]] = {}
    for i, session in enumerate(workload.session.tolist()):
        found.setdefault(session, []).append(i)
    return found


def first_turns(workload: Workload) -> list[int]:
    return [rows[0] for rows in turns(workload).values()]


# Times


@pytest.mark.parametrize("keys", [SHAREGPT, DRAWN, {**AGENTIC, "limit": 500}])
def test_only_the_first_turn_comes_by_itself_and_rows_are_in_order(keys):
    workload = make(3, **keys)
    assert np.flatnonzero(np.isnan(workload.think_s)).tolist() == sorted(first_turns(workload))
    for rows in turns(workload).values():
        at = workload.arrival_s[rows]
        assert at[1:] == pytest.approx(at[0] + np.cumsum(workload.think_s[rows][1:]))


def test_think_times_and_starts_have_their_means_and_streams_of_their_own():
    workload = make(**SHAREGPT)
    later = workload.think_s[~np.isnan(workload.think_s)]
    assert later.mean() == pytest.approx(10, rel=4.5 / np.sqrt(len(later)))
    starts = np.sort(workload.arrival_s[first_turns(workload)])
    assert len(starts) / starts[-1] == pytest.approx(0.5, rel=4.5 / np.sqrt(len(starts)))
    slower = make(**{**SHAREGPT, "think_s": 20.0})
    assert np.array_equal(np.sort(slower.arrival_s[first_turns(slower)]), starts)
    # the first sessions of the file are the same ones at the same times, however many there are
    few = make(**SHAREGPT, limit=1000)
    assert np.array_equal(np.sort(few.arrival_s[first_turns(few)]), starts[: len(first_turns(few))])


def test_long_think_times_can_be_cut():
    keys = {"trace": "agentic_coding", "concurrency": 1}
    recorded, cut = make(**keys), make(**keys, max_think_s=60.0)
    assert np.nanmax(recorded.think_s) > 10 * 3600
    assert np.array_equal(cut.think_s, np.minimum(recorded.think_s, 60), equal_nan=True)
    assert np.nanmax(make(**DRAWN, max_think_s=30.0).think_s) == 30


# Cutting


def test_a_limit_keeps_whole_sessions_but_the_last():
    whole, few = make(**SHAREGPT), make(**SHAREGPT, limit=1000)
    assert len(few) == 1000
    lengths = {session: len(rows) for session, rows in turns(whole).items()}
    kept = {session: len(rows) for session, rows in turns(few).items()}
    shorter = [session for session, rows in kept.items() if rows < lengths[session]]
    assert len(shorter) <= 1
    assert "1,000 of 61,195 requests" in few.source


def test_a_session_ends_with_its_first_prompt_that_is_too_long():
    whole = make(trace="agentic_coding", concurrency=1)
    cut = make(trace="agentic_coding", concurrency=1, max_prompt_tokens=60_000)
    assert cut.prompt_tokens.max() <= 60_000
    kept = turns(cut)
    for session, rows in turns(whole).items():
        fits = whole.prompt_tokens[rows] <= 60_000
        wanted = len(rows) if fits.all() else int(np.argmin(fits))
        assert len(kept.get(session, [])) == wanted
        assert (
            cut.prompt_tokens[kept.get(session, [])].tolist() == whole.prompt_tokens[rows[:wanted]].tolist()
        )
    short = make(**DRAWN, max_prompt_tokens=3000)
    assert short.prompt_tokens.max() <= 3000
    assert f"{len(short):,} of 3,000 requests" in short.source


def test_a_session_in_a_window_goes_on_from_where_the_window_starts(tmp_path):
    path = written(
        tmp_path,
        "arrival_s,session_id,think_time_s,new_tokens,prompt_tokens,output_tokens",
        *("0,7,,10,10,5", "1,,,20,20,5", "3,7,1,4,19,6", "8,7,2,5,30,7"),
    )
    workload = make(trace=path)
    assert workload.session.tolist() == [7, -1, 7, 7]
    assert workload.think_s.tolist() == pytest.approx([np.nan, np.nan, 1, 2], nan_ok=True)
    assert workload.segments == [
        ((-1, 10),),
        ((-2, 20),),
        ((-1, 15), (-3, 4)),
        ((-1, 15), (-3, 10), (-4, 5)),
    ]
    part = make(trace=path, start_s=2.0)
    assert part.arrival_s.tolist() == [1, 6]
    assert part.think_s.tolist() == pytest.approx([np.nan, 2], nan_ok=True)
    assert part.segments == [((-1, 19),), ((-1, 25), (-2, 5))]
    assert make(trace=path, rate_scale=2.0).arrival_s.tolist() == [0, 0.5, 1.5, 4]
    assert make(trace=path, rate_rps=0.5).arrival_s.tolist() == [0, 2, 6, 16]  # of what comes by itself
    open_loop = written(tmp_path, "arrival_s,session_id,prompt_tokens,output_tokens", "0,a,1,1", "2,a,1,1")
    assert make(trace=open_loop).think_s is None
    assert np.isnan(make(trace=open_loop, think_s=1.0).think_s).tolist() == [True, False]


def test_shorter_answers_leave_the_recorded_history():
    cut = make(**SHAREGPT, limit=300, max_tokens=10)
    full = make(**SHAREGPT, limit=300)
    assert cut.output_tokens.max() == 10
    assert cut.segments == full.segments


# Drawn


def test_drawn_sessions_add_up_their_turns():
    workload = make(**DRAWN)
    assert len(workload) == 3000
    for rows in turns(workload).values():
        assert workload.segments[rows[0]] == ((-1 - rows[0], workload.prompt_tokens[rows[0]]),)
        for i, j in pairwise(rows):
            stream, count = workload.segments[j][-2]
            assert stream == workload.output_stream[i]
            so_far = int(workload.prompt_tokens[i] + workload.output_tokens[i])
            assert sum(n for _, n in workload.segments[j][:-1]) == so_far
            assert count > workload.output_tokens[i]
            assert workload.prompt_tokens[j] > so_far
    plain = make(**{key: value for key, value in DRAWN.items() if key not in ("session_turns", "think_s")})
    starts = np.sort(workload.arrival_s[first_turns(workload)])
    assert np.array_equal(starts, plain.arrival_s[: len(starts)])
    assert "sessions of 4 turns on average, 20 s between them" in workload.source


def test_the_number_of_turns_is_geometric_with_its_mean():
    keys = {key: value for key, value in DRAWN.items() if key != "requests"}
    counts = np.array([len(rows) for rows in turns(make(**keys, duration_s=8000.0)).values()])
    n = len(counts)
    assert counts.mean() == pytest.approx(4, abs=4.5 * np.sqrt(12 / n))
    assert np.mean(counts == 1) == pytest.approx(0.25, abs=4.5 * np.sqrt(0.25 * 0.75 / n))
    single = make(**{**keys, "session_turns": 1.0}, duration_s=100.0)
    assert np.isnan(single.think_s).all()


def test_more_requests_leave_the_first_ones_as_they_are():
    many, few = make(9, **DRAWN), make(9, **{**DRAWN, "requests": 500})
    last = max(few.session)
    for session in range(last):
        one, other = turns(many)[session], turns(few)[session]
        for column in ("arrival_s", "prompt_tokens", "output_tokens"):
            assert np.array_equal(getattr(many, column)[one], getattr(few, column)[other])


def test_every_session_may_begin_with_a_shared_text_and_is_of_one_tenant_and_priority():
    workload = make(
        **DRAWN, shared_prefixes=2, shared_prefix_tokens=100, tenants=[0.7, 0.3], priorities=[0.5, 0.5]
    )
    for rows in turns(workload).values():
        assert len(set(workload.tenant[rows])) == len(set(workload.priority[rows])) == 1
        first = workload.segments[rows[0]][0]
        assert all(workload.segments[i][0] == first for i in rows)
    begins = {segments[0] for segments in workload.segments}
    assert {(0, 100), (1, 100)} <= begins


# Clients that wait


def test_clients_that_wait_have_no_arrival_times():
    workload = make(concurrency=8, limit=100, patience_s=3.0)
    assert workload.concurrency == 8
    assert not workload.arrival_s.any()
    assert np.array_equal(workload.prompt_tokens, make(limit=100).prompt_tokens)
    assert (workload.leave_s > 0).all()
    assert "sent by 8 clients, one after another" in workload.source
    assert make(limit=100).concurrency is None
    burst = make(arrivals="burst", requests=9, prompt_tokens=5, output_tokens=5, concurrency=2)
    assert burst.concurrency == 2
    agents = make(trace="agentic_coding", concurrency=8, limit=200)
    assert not agents.arrival_s.any()
    assert np.flatnonzero(np.isnan(agents.think_s)).tolist() == first_turns(agents)
    table = pq.read_table(FILE)
    assert agents.prompt_tokens.tolist() == table["prompt_tokens"].to_pylist()[:200]
