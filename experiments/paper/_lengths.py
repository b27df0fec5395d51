"""How the two length samples that the paper's workloads need, and that cannot be copied, are made.

``loogle_like``: LooGLE (Li et al., arXiv:2311.04939), long documents with questions about them. What is published, and
all that is published, stands in ``TASKS``: documents, their mean words and tokens, questions, and the longest answer
that the evaluation lets a model generate (``config/task2maxlen.json`` of github.com/bigai-nlco/LooGLE). Lengths of
questions and reference answers are published nowhere; their means are those of the 20 sample documents in that
repository (``LooGLE-testdata``, commit 6734382, MIT). Assumed are, and only these:

* the shapes: documents are log-normal with the spread of the sample's 19 different documents (their mean, 15,187
  words, is below the whole's, so the tail is rather too thin than too thick), answers log-normal with a spread at which
  the longest answer of a document is as long as in the sample;
* questions and answers have as many tokens a word as their documents;
* all questions of a task are spread evenly over its documents, and answers do not depend on the document;
* an answer is as long as the reference. Chat models say more; ``ANSWER_LIMITS`` bounds by how much.

``loogle_like_32k``: the same rows for models of 32,768 tokens, longer prompts cut so that the longest answer allowed
fits behind them. LooGLE's own evaluation cuts so, leaving out the middle (``Prediction/pred_opensource_models.py``).
How the paper handled such prompts is not known.

``sharegpt_1600``: v1's concatenated long conversations of about 1,600 tokens. Turns of ``sharegpt_multiturn`` are
joined in the order of the file, across the ends of conversations, message and answer, each once. A prompt ends with
the message that brings it nearest to 1,600 tokens, and that turn's answer is its output. A prompt that is further than
a quarter away (one long message) is left out, with what it joined.

``python -m experiments.paper._lengths`` writes the files; a test makes them anew and compares.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtri

from simulator.arrays import Floats, Ints
from simulator.workload.library import DATA, shipped_traces

Rows = dict[str, Ints | list[str]]

DOCUMENT_SPREAD = 0.287  # standard deviation of the log of the words of the sample's 19 documents
ANSWER_LIMITS = {"short QA": 300, "long QA": 500, "summary": 500, "cloze": 50}  # tokens, task2maxlen.json
JOINED_TOKENS = 1600
JOINED_WITHIN = JOINED_TOKENS // 4
CONTEXT_32K = 32_768 - max(ANSWER_LIMITS.values())


class Task(NamedTuple):
    """One task of LooGLE on one kind of document. Words are those of the sample, all else is published."""

    name: str
    kind: str
    documents: int
    document_words: int  # mean
    document_tokens: int  # mean
    questions: int
    asked_words: float  # mean of question and instruction together
    answer_words: float  # mean
    answer_spread: float  # standard deviation of the log


# Questions as asked: the sample's mean words, and the words of config/task2prompt.json around them.
TASKS = (
    Task("summary", "arXiv papers", 516, 16_988, 20_887, 516, 9, 152.0, 0.3),
    Task("short QA", "Wikipedia pages", 105, 17_604, 21_017, 1951, 9.9 + 12, 14.2, 0.8),
    Task("long QA", "Wikipedia pages", 105, 17_604, 21_017, 459, 17.1 + 12, 15.9, 0.8),
    Task("cloze", "scripts", 155, 28_483, 36_412, 2880, 110.0 + 52, 4.2, 0.35),
    Task("long QA", "scripts", 155, 28_483, 36_412, 642, 17.1 + 12, 15.9, 0.8),
)


def loogle_like(most_prompt_tokens: int | None = None) -> Rows:
    """Return a row a question: task, kind of document, prompt tokens (cut to ``most_prompt_tokens``), output tokens."""
    task_names: list[str] = []
    kinds: list[str] = []
    prompts, outputs = [], []
    for task in TASKS:
        tokens_a_word = task.document_tokens / task.document_words
        document = log_normal(task.documents, task.document_tokens, DOCUMENT_SPREAD)
        prompt = document[(2 * np.arange(task.questions) + 1) * task.documents // (2 * task.questions)]
        answer = log_normal(task.questions, task.answer_words * tokens_a_word, task.answer_spread)
        prompts.append(np.rint(prompt + task.asked_words * tokens_a_word))
        outputs.append(np.rint(shuffled(answer)).clip(1, ANSWER_LIMITS[task.name]))
        task_names += [task.name] * task.questions
        kinds += [task.kind] * task.questions
    prompt_tokens = np.concatenate(prompts).astype(np.int64)
    if most_prompt_tokens is not None:
        prompt_tokens = np.minimum(prompt_tokens, most_prompt_tokens)
    output_tokens = np.concatenate(outputs).astype(np.int64)
    return {
        "task": task_names,
        "document": kinds,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
    }


def log_normal(n: int, mean: float, spread: float) -> Floats:
    """Return ``n`` ascending values at evenly spaced levels of a log-normal, scaled so that their mean is ``mean``.

    ``spread`` is the standard deviation of their logarithm.
    """
    values = np.exp(spread * ndtri((np.arange(n) + 0.5) / n))
    return np.asarray(mean * values / values.mean())


def shuffled(values: Floats) -> Floats:
    """Return the values in another order, the same each time, in which neighbours are far apart (golden ratio)."""
    n = len(values)
    step = next(k for k in range(round(0.618 * n), 0, -1) if np.gcd(k, n) == 1)
    return values[np.arange(n) * step % n]


def joined_conversations() -> Rows:
    """Return the rows of ``sharegpt_1600``: prompt and output tokens."""
    table = pq.read_table(shipped_traces()["sharegpt_multiturn"], columns=["new_tokens", "output_tokens"])
    asked, answered = table["new_tokens"].to_pylist(), table["output_tokens"].to_pylist()
    prompts: list[int] = []
    outputs: list[int] = []
    before = 0  # tokens joined so far, up to and with the last answer
    for i, (new, answer) in enumerate(zip(asked, answered, strict=True)):
        prompt = before + new
        if i + 1 < len(asked) and abs(prompt + answer + asked[i + 1] - JOINED_TOKENS) < abs(
            prompt - JOINED_TOKENS
        ):
            before = prompt + answer
            continue
        before = 0
        if abs(prompt - JOINED_TOKENS) <= JOINED_WITHIN:
            prompts.append(prompt)
            outputs.append(answer)
    return {"prompt_tokens": np.array(prompts, np.int64), "output_tokens": np.array(outputs, np.int64)}


def write(folder: Path) -> None:
    """Write the three files into ``folder``."""
    loogle = (
        "generated from the published statistics of LooGLE (arXiv:2311.04939: 776 documents, 6,448 questions) and its"
        " sample documents; shapes assumed, see experiments/paper/_lengths.py"
    )
    made = {
        "loogle_like": (loogle_like(), loogle, "MIT (LooGLE)"),
        "loogle_like_32k": (
            loogle_like(CONTEXT_32K),
            f"{loogle}; prompts cut at {CONTEXT_32K:,} tokens",
            "MIT (LooGLE)",
        ),
        "sharegpt_1600": (
            joined_conversations(),
            f"turns of sharegpt_multiturn joined to prompts of about {JOINED_TOKENS:,} tokens",
            "counts only; upstream dump labelled Apache-2.0",
        ),
    }
    for name, (rows, source, licence) in made.items():
        columns = {
            key: pa.array(values, pa.string() if isinstance(values, list) else pa.int32())
            for key, values in rows.items()
        }
        table = pa.table(columns).replace_schema_metadata({"source": source, "license": licence})
        pq.write_table(table, folder / f"lengths_{name}.parquet", compression="zstd")


if __name__ == "__main__":
    write(DATA)
