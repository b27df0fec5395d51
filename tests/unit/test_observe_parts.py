"""What observing a server is made of: events out of bytes, tokens out of chunks, prompts out of streams, targets."""

import json
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.observe.answer import BadAnswerError, StreamedAnswer
from simulator.observe.driving import first_turns
from simulator.observe.endpoint import Endpoint, extra_body_of, headers_of
from simulator.observe.event_stream import EventStream
from simulator.observe.probing import counting_of
from simulator.observe.prompts import Counting, PromptTexts, plain
from simulator.workload import Workload, WorkloadSpec, build

STREAM = (
    '\ufeff: hello\r\nevent: x\r\ndata: {"a":\r\ndata: "ö"}\r\n\r\n:\n\ndata:1\n\nid: 7\rdata: [DONE]\r\r'
)
EVENTS = ['{"a":\n"ö"}', "1", "[DONE]"]


def fed(pieces):
    events = EventStream()
    return [data.decode() for piece in pieces for data in events.feed(piece)] + [
        data.decode() for data in events.close()
    ]


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=12))
def test_events_are_the_same_wherever_bytes_are_cut(cuts):
    data = STREAM.encode()
    bounds = sorted({0, *cuts, len(data)})
    assert fed([data[a:b] for a, b in pairwise(bounds)]) == EVENTS
    assert fed([bytes([byte]) for byte in data]) == EVENTS


def test_an_event_without_its_empty_line_counts_at_the_end():
    events = EventStream()
    assert events.feed(b"data: 1\n") == []
    assert events.close() == [b"1"]


def taken(*chunks, answer=None):
    answer = answer or StreamedAnswer()
    for i, chunk in enumerate(chunks):
        answer.take(chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode(), float(i))
    return answer


def delta(**values):
    return {"choices": [{"delta": values, "finish_reason": None}]}


CHUNKS = {
    "the role of a chat": (delta(role="assistant", content=""), 0),
    "the role with null": (delta(role="assistant", content=None), 0),
    "words with the role": (delta(role="assistant", content="a"), 1),
    "a letter that is not whole": (delta(content=""), 1),
    "no choice": ({"choices": []}, 0),
    "an empty delta": (delta(), 0),
    "a call of a tool": (delta(tool_calls=[{}]), 1),
    "thinking": (delta(reasoning_content="a"), 1),
    "thinking by its newer name": (delta(reasoning="a"), 1),
    "a completion": ({"choices": [{"text": "a"}]}, 1),
    "a completion's letter that is not whole": ({"choices": [{"text": "", "finish_reason": None}]}, 1),
    "a completion's end": ({"choices": [{"text": "", "finish_reason": "stop"}]}, 0),
    "token ids": ({"choices": [{"text": "abc", "token_ids": [1, 2, 3]}]}, 3),
    "logprobs": ({"choices": [{"text": "ab", "logprobs": {"tokens": ["a", "b"]}}]}, 2),
    "logprobs of a chat": ({"choices": [{"delta": {"content": "ab"}, "logprobs": {"content": [{}, {}]}}]}, 2),
    "usage so far": ({"choices": [{"text": "a"}], "usage": {"completion_tokens": 4}}, 4),
    "usage of none so far": ({**delta(content=""), "usage": {"completion_tokens": 0}}, 0),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_a_chunk_carries_as_many_tokens_as_it_says(name):
    chunk, tokens = CHUNKS[name]
    assert sum(taken(chunk).tokens) == tokens


def test_tokens_are_counted_by_how_much_usage_grew():
    chunks = [{"choices": [{"text": "x"}], "usage": {"completion_tokens": n}} for n in (1, 4, 4, 5)]
    answer = taken(*chunks)
    assert (answer.times_s, answer.tokens, answer.counted) == ([0.0, 1.0, 3.0], [1, 3, 1], True)


def test_what_the_end_of_an_answer_says_is_kept():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    answer = taken(
        delta(reasoning_content="t"),
        delta(content="a"),
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": usage},
        b" [DONE] ",
    )
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens) == (9, 2, 4)
    assert (answer.thinking_tokens, answer.hidden_tokens, answer.text) == (1, 1, "a")
    assert (answer.finish_reason, answer.done, answer.counted) == ("stop", True, False)


KEYS = ["choices", "usage", "delta", "text", "content", "logprobs", "finish_reason", "completion_tokens", "error",
        "prompt_tokens_details", "tokens", "token_ids"]  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(ANY)
def test_no_chunk_is_too_odd(value):
    answer = StreamedAnswer()
    for chunk in (value, {"choices": [value]}, {"choices": [{"delta": value}], "usage": value}):
        with suppress(BadAnswerError):
            taken(chunk, answer=answer)
    assert len(answer.times_s) == len(answer.tokens)
    assert all(each > 0 for each in answer.tokens)


def test_what_is_no_chunk_is_said():
    for data, reason in ((b"{", "not JSON"), (b"\xff", "not JSON"), (b"[1]", "no JSON object")):
        with pytest.raises(BadAnswerError, match=reason):
            taken(data)
    with pytest.raises(BadAnswerError) as found:
        taken({"error": {"message": "out of\nmemory"}})
    assert found.value.detail == "out of memory"


def words(parts):
    return plain(parts).split()


def test_prompts_share_what_the_traffic_shares_and_nothing_else():
    spec = WorkloadSpec(arrivals="burst", requests=6, prompt_tokens=40, output_tokens=5, shared_prefixes=2,
                        shared_prefix_tokens=16)  # fmt: skip
    workload = build(spec, 1)
    prompts = [words(PromptTexts(workload, 1, Counting()).of(row, {})) for row in range(6)]
    assert {len(each) for each in prompts} == {40}
    assert workload.segments is not None
    begins = [workload.segments[row][0][0] for row in range(6)]
    assert len(set(begins)) == 2
    for i in range(6):
        for j in range(i):
            assert (prompts[i][:16] == prompts[j][:16]) == (begins[i] == begins[j])
            assert prompts[i][16:] != prompts[j][16:]
    other = PromptTexts(workload, 2, Counting())
    assert words(other.of(0, {})) != prompts[0]
    assert words(PromptTexts(workload, 1, Counting()).of(0, {})) == prompts[0]


def test_words_are_spelt_alike_whatever_is_around():
    workload = Workload("w", [0.0], [1], [1], 1, "w")
    whole = PromptTexts(workload, 3, Counting()).text(5, 0, 1000).split()
    assert len(set(whole)) > 100
    assert PromptTexts(workload, 3, Counting()).text(5, 200, 300).split() == whole[200:300]
    assert len(PromptTexts(workload, 3, Counting(1.0, -1)).text(5, 0, 1000).split()) == 1001
    scaled = PromptTexts(workload, 3, Counting(2.0, 20))
    assert len(scaled.text(5, 0, 1000).split()) == 490
    assert scaled.text(5, 0, 500) + scaled.text(5, 500, 1000) == scaled.text(5, 0, 1000)


def test_a_session_repeats_the_answers_that_it_got():
    workload = build(WorkloadSpec(arrivals="burst", session_turns=4.0, requests=4, think_s=0.0, prompt_tokens=30,
                                  output_tokens=5), 3)  # fmt: skip
    turns: dict[int, int] = {}
    (first, *_) = first_turns(workload, turns)
    second = turns[first]
    prompts = PromptTexts(workload, 0, Counting())
    one, two = prompts.of(first, {}), prompts.of(second, {first: " the answer"})
    assert [role for role, _ in two] == ["user", "assistant", "user"]
    assert two[0] == one[0]
    assert two[1][1] == " the answer"
    assert len(two[2][1].split()) == 30
    assert [role for role, _ in prompts.of(second, {})] == ["user"]


def test_how_a_server_counts_is_told_by_two_prompts():
    assert counting_of([16 * 2 + 9, 272 * 2 + 9]) == Counting(2.0, 9)
    assert counting_of([16, 272]) == Counting(1.0, 0)
    assert counting_of([15, 271]) == Counting(1.0, -1)
    for odd in ([7, 7], [300, 16], [], [5], [16, 100_000]):
        assert counting_of(odd) == Counting()


def test_targets_are_found_by_what_users_paste():
    for url, path in (
        ("http://h:8000", "http://h:8000/v1/completions"),
        ("http://h:8000/", "http://h:8000/v1/completions"),
        ("http://h/v1/", "http://h/v1/completions"),
        ("https://h/x/v1/chat/completions", "https://h/x/v1/chat/completions"),
        ("https://h/openai/completions?v=1", "https://h/openai/completions?v=1"),
    ):
        assert Endpoint.of(url).url == path
    assert Endpoint.of("http://h", api="chat").url == "http://h/v1/chat/completions"
    secret = Endpoint.of("https://me:pw@h/v1?key=s")
    assert secret.shown == "https://h/v1/completions"
    for bad in ("localhost:8000", "ftp://h", "http://", "http://h:x"):
        with pytest.raises(InputError, match="expected the URL of a server"):
            Endpoint.of(bad)


def test_a_body_has_what_was_asked_and_what_goes_over_it():
    body = json.loads(Endpoint.of("http://h", model="m").body([("user", " a b")], 7))
    assert (body["prompt"], body["max_tokens"], body["min_tokens"], body["ignore_eos"]) == ("a b", 7, 7, True)
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    over = extra_body_of('{"max_tokens": null, "max_completion_tokens": 3}')
    endpoint = Endpoint.of("http://h", api="chat", extra_body=over, ignore_eos=False)
    body = json.loads(endpoint.body([("user", " a"), ("assistant", "b")], 7))
    assert body["messages"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert body["max_completion_tokens"] == 3
    assert not body.keys() & {"max_tokens", "min_tokens", "ignore_eos", "model"}
    with pytest.raises(InputError, match="'prompt' is what this command measures by"):
        Endpoint.of("http://h", extra_body={"prompt": "x"})
    assert headers_of(["X-A: b:c"], "k") == {"Authorization": "Bearer k", "X-A": "b:c"}


def test_a_session_waits_only_where_it_has_think_times():
    nan = np.nan
    workload = Workload(
        "w", [0, 0, 0, 0.0], [1] * 4, [1] * 4, 1, "w", session=[5, 5, -1, 5], think_s=[nan, 1.0, nan, 2.0]
    )
    turns: dict[int, int] = {}
    assert first_turns(workload, turns) == [0, 2]
    assert turns == {0: 1, 1: 3}
