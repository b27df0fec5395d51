"""Servers that count what they do not send, find prompts cached, or answer otherwise than asked: what is said of it."""

import socket

import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.observe import observe as observing
from simulator.observe.endpoint import Endpoint, headers_of
from simulator.observe.observe import observe
from tests.streaming_server import Behaviour, StreamingServer
from tests.unit.test_observe import BURST, columns, notes, observed, states

FEW = BURST | {"requests": 4}


def test_thinking_that_is_counted_and_not_sent_is_left_out():
    hidden = {"completion_tokens_details": {"reasoning_tokens": 3}}
    with StreamingServer(Behaviour(details=hidden)) as server:
        result = observed(server, FEW, api="chat")
    assert "12 tokens of thinking were counted by the server and not sent; they are left out" in notes(result)
    assert result.log.token_counts.tolist() == [7] * 4


def test_what_a_server_found_in_its_cache_is_told():
    cached = {"prompt_tokens_details": {"cached_tokens": 10}}
    with StreamingServer(Behaviour(details=cached)) as server:
        result = observed(server, FEW)
    assert "the server found 25.0% of the prompt tokens in its prefix cache" in notes(result)
    assert columns(result)["cached_tokens"].tolist() == [10] * 4


def test_thinking_is_as_asked_where_the_server_does_not_tell_it():
    with StreamingServer() as server:
        result = observed(server, FEW | {"thinking": [[1.0, 4.0]]})
    assert columns(result)["thinking_tokens"].tolist() == [4] * 4


def test_answers_shorter_than_asked_are_told():
    with StreamingServer(choose=lambda n, body: Behaviour(stops_after=6)) as server:
        result = observed(server, FEW)
    assert "completed answers have 24 tokens; asked were 40" in notes(result)


def test_a_warm_up_that_fails_is_told():
    with StreamingServer(choose=lambda n, body: Behaviour(status=500 if n < 2 else 200)) as server:
        result = observed(server, FEW, warmup=3)
    assert "2 of 3 requests of the warm-up did not complete" in notes(result)
    assert states(result) == {"completed": 4}


def test_an_error_is_told_in_few_words_however_long_it_is():
    with StreamingServer(choose=lambda n, body: Behaviour(status=500, said="no memory " * 50_000)) as server:
        result = observed(server, FEW)
    (said,) = (line for line in notes(result).splitlines() if "HTTP 500" in line)
    assert said.startswith("4 of 4 requests did not complete: HTTP 500 (such as no memory no memory")
    assert len(said) < 400


def test_a_run_may_not_end_before_its_first_request():
    late = FEW | {"arrivals": "constant", "rate_rps": 2.0}
    with (
        StreamingServer() as server,
        pytest.raises(
            InputError, match="observe: the run ended before any request was sent; expected a longer"
        ),
    ):
        observed(server, late, run={"horizon_s": 0.05})


def test_a_server_that_lists_no_models_is_asked_for_one():
    with (
        StreamingServer(models=()) as server,
        pytest.raises(
            InputError, match="HTTP 200 for /models, which names none; expected a server of OpenAI's"
        ),
    ):
        observe(Scenario(workload=FEW), Endpoint.of(server.url))


def test_a_server_that_does_not_answer_in_time_says_so():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(
            InputError, match=rf"{url}/v1.*: no answer in time; expected a server of OpenAI's API"
        ):
            observe(Scenario(workload=FEW), Endpoint.of(url, timeout_s=0.2))


def test_what_cannot_be_asked_of_a_url_or_a_header():
    with pytest.raises(InputError, match="--api: 'chat', but the path of the URL is that of 'completions'"):
        Endpoint.of("http://localhost:8000/v1/completions", api="chat")
    with pytest.raises(
        InputError, match="the value of X-Name cannot be sent; expected printable ASCII"
    ) as error:
        headers_of(["X-Name: sécret"], None)
    assert "sécret" not in str(error.value)
    with pytest.raises(InputError, match="the value of Authorization cannot be sent"):
        headers_of([], "schlüssel")


def test_as_many_connections_may_be_open_as_the_system_allows(monkeypatch):
    resource, asked = pytest.importorskip("resource"), []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    observing._allow_many_files()
    assert asked == [(4096, 4096)]
