"""The lengths made for the paper's workloads: what is published of LooGLE holds in them, and they can be made anew."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from experiments.paper import _lengths
from hardware_profiles.model_files import load_model
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.workload import library

# arXiv:2311.04939, table of statistics: documents, mean words, mean tokens, questions in all.
PUBLISHED = {
    "arXiv papers": (516, 16_988, 20_887, 516),
    "Wikipedia pages": (105, 17_604, 21_017, 1951 + 459),
    "scripts": (155, 28_483, 36_412, 2880 + 642),
}
# The 20 sample documents: mean words of a reference answer, and of the longest of a document, by task.
SAMPLE_ANSWERS = {"short QA": (14.2, 49), "long QA": (15.9, 47), "cloze": (4.2, 7.6), "summary": (152, 203)}


@pytest.fixture(scope="module")
def loogle():
    table = pq.read_table(library.shipped_samples()["loogle_like"])
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def test_the_whole_is_as_large_as_published():
    assert sum(each[0] for each in PUBLISHED.values()) == 776
    mean_words, mean_tokens = (sum(row[0] * row[i] for row in PUBLISHED.values()) / 776 for i in (1, 2))
    assert (int(mean_words), int(mean_tokens)) == (19_367, 24_005)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_documents_and_questions_are_as_published(loogle, kind):
    documents, _, tokens, questions = PUBLISHED[kind]
    mine = loogle["document"] == kind
    assert mine.sum() == questions
    for task in set(loogle["task"][mine]):
        prompt = loogle["prompt_tokens"][mine & (loogle["task"] == task)]
        assert len(np.unique(prompt)) == pytest.approx(documents, rel=0.03)  # two may be equally long
        asked = prompt.mean() - tokens
        assert 0 < asked < 300  # the question and its instruction
        assert prompt.mean() == pytest.approx(tokens, rel=0.01)


def test_answers_are_short_and_within_what_the_evaluation_lets_a_model_say(loogle):
    assert len(loogle["task"]) == 6448
    for task, most in {"short QA": 300, "long QA": 500, "summary": 500, "cloze": 50}.items():
        answers = loogle["output_tokens"][loogle["task"] == task]
        assert 1 <= answers.min() <= answers.max() <= most
        mean_words, longest_words = SAMPLE_ANSWERS[task]
        tokens_a_word = 1.25 if task != "cloze" else 1.28
        assert answers.mean() / tokens_a_word == pytest.approx(mean_words, rel=0.06)
        each = {"short QA": 16, "long QA": 9, "cloze": 19, "summary": 5}[
            task
        ]  # questions of a sample document
        blocks = answers[: len(answers) // each * each].reshape(-1, each)
        assert blocks.max(axis=1).mean() / tokens_a_word == pytest.approx(longest_words, rel=0.3)
    assert loogle["prompt_tokens"].mean() / loogle["output_tokens"].mean() > 1000


def test_answers_do_not_depend_on_the_document(loogle):
    for task in set(loogle["task"]):
        mine = loogle["task"] == task
        together = np.corrcoef(loogle["prompt_tokens"][mine], loogle["output_tokens"][mine])[0, 1]
        assert abs(together) < 0.05


def test_the_files_are_what_the_rule_makes(tmp_path):
    _lengths.write(tmp_path)
    for path in tmp_path.iterdir():
        assert pq.read_table(path).equals(pq.read_table(library.DATA / path.name), check_metadata=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_joined_conversations_are_of_about_1600_tokens():
    table = pq.read_table(library.shipped_samples()["sharegpt_1600"])
    prompt = np.array(table["prompt_tokens"].to_pylist())
    assert prompt.mean() == pytest.approx(1600, rel=0.01)
    assert 1200 <= prompt.min() <= prompt.max() <= 2000
    turns = pq.read_table(library.shipped_traces()["sharegpt_multiturn"])
    told = sum(turns["new_tokens"].to_pylist()) + sum(turns["output_tokens"].to_pylist())
    kept = prompt.sum() + sum(table["output_tokens"].to_pylist())
    assert 0.6 * told < kept < told  # each message and answer once


def test_prompts_longer_than_the_model_are_refused_and_the_cut_ones_served():
    def scenario(lengths, model):
        workload = {"arrivals": "poisson", "rate_rps": 0.05, "requests": 30, "lengths": lengths}
        return Scenario(hardware={"gpu": "a100-80gb-sxm", "model": model}, workload=workload)

    assert load_model("qwen-2.5-14b").max_position_embeddings == 32_768
    with pytest.raises(InputError, match="max_model_len = 32768"):
        run(scenario("loogle_like", "qwen-2.5-14b"))
    for lengths, model in (("loogle_like_32k", "qwen-2.5-14b"), ("loogle_like", "llama-3.1-8b")):
        assert run(scenario(lengths, model)).summary()["states"]["completed"]["count"] == 30


def test_v1s_model_and_gpu_serve_v1s_conversations():
    model = load_model("qwen-2-7b")
    assert model.parameters == pytest.approx(7.62e9, rel=0.002)
    workload = {"arrivals": "poisson", "rate_rps": 1.0, "requests": 30, "lengths": "sharegpt_1600"}
    summary = run(Scenario(hardware={"gpu": "a100-40gb", "model": "qwen-2-7b"}, workload=workload)).summary()
    assert summary["states"]["completed"]["count"] == 30
