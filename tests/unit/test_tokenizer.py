"""Texts counted by a tokenizer in a file, in a folder or of a name; without one they are estimated, which is said."""

import json
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs
from simulator.workload.tokenizer import load

CHATS = [
    {"id": "a", "conversations": [
        {"from": "human", "value": "one two three"}, {"from": "gpt", "value": "four five"},
        {"from": "human", "value": "six"}, {"from": "gpt", "value": "seven eight nine ten"},
    ]},
    {"id": "b", "conversations": [{"from": "human", "value": "internationalisation"}, {"from": "gpt", "value": "yes"}]},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A tokenizer of one token a word."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "one": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    where = tmp_path / "words"
    where.mkdir()
    tokenizer.save(str(where / "tokenizer.json"))
    (tmp_path / "chats.json").write_text(json.dumps(CHATS))
    return tmp_path


@pytest.mark.parametrize("name", ["words", "words/tokenizer.json"])
def test_sharegpt_is_counted_by_the_tokenizer_in_a_file_or_folder(folder, name):
    spec = WorkloadSpec(trace="chats.json", tokenizer=name, rate_rps=1.0, think_s=1.0)
    traffic = build(spec, 0, folder)
    found = sorted(zip(traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist(), strict=True))
    assert found == [(1, 1), (3, 2), (6, 4)]
    assert f"token counts by the tokenizer {name} in 3 rows" in traffic.source
    assert "characters" not in traffic.source


def test_without_one_tokens_are_estimated_and_that_is_said(folder):
    traffic = build(WorkloadSpec(trace="chats.json", rate_rps=1.0, think_s=1.0), 0, folder)
    assert sorted(traffic.prompt_tokens.tolist()) == [4, 5, 8]
    assert "token counts estimated at 4 characters a token in 3 rows" in traffic.source


def test_lengths_and_graphs_are_counted_too(folder):
    keys = {"arrivals": "burst", "requests": 50, "lengths": "chats.json", "tokenizer": "words"}
    assert set(build(WorkloadSpec(**keys), 0, folder).output_tokens.tolist()) == {1, 2, 4}
    graph = folder / "graph.jsonl"
    turn = {"messages": [{"role": "user", "content": "a b c"}], "max_tokens": 3}
    graph.write_text(json.dumps({"session_id": "a", "turns": [turn]}))
    trace = Trace(graph, ReadAs(tokenizer=load(str(folder / "words"))))
    assert trace.read()[0].prompt_tokens.tolist() == [3]
    assert trace.notes == [f"token counts by the tokenizer {folder / 'words'} in 1 rows"]
    assert Trace(graph).read()[0].prompt_tokens.tolist() == [2], "the next file is estimated again"


def test_a_tokenizer_that_is_none_is_one_sentence(folder, monkeypatch):
    (folder / "empty").mkdir()
    (folder / "bad.json").write_text("{}")
    with pytest.raises(InputError, match=r"workload\.tokenizer: no tokenizer\.json in the folder"):
        load("empty", folder)
    with pytest.raises(InputError, match=r"workload\.tokenizer: .*bad\.json: not a readable tokenizer\.json"):
        load("bad.json", folder)
    with pytest.raises(InputError, match=r"workload\.tokenizer: no file 'nix\.json'"):
        load("nix.json", folder)

    def unreachable(name):
        raise OSError("no connection")

    monkeypatch.setattr("tokenizers.Tokenizer.from_pretrained", staticmethod(unreachable), raising=False)
    with pytest.raises(
        InputError, match=r"'org/none' is no file or folder, and not to be had from the Hugging Face"
    ):
        load("org/none", folder)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"is not installed; expected: pip install 'servesim\[tokenizers\]'"):
        load("words", folder)
    with pytest.raises(
        ValueError, match=r"workload\.tokenizer: only for a trace, or beside workload\.lengths"
    ):
        WorkloadSpec(arrivals="burst", requests=2, prompt_tokens=3, output_tokens=3, tokenizer="words")
