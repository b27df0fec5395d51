"""Step timings out of a log that an engine writes by itself: SGLang's lines on decode batches.

    [2026-11-29 17:00:01 TP0] Decode batch, #running-req: 16, #token: 40960, ..., gen throughput (token/s): 812.34, ...

There is one every ``--decode-log-interval`` steps, 40 if it is not set (SGLang 0.5.3, srt/managers/
scheduler_metrics_mixin.py, ``log_decode_stats``). Its throughput is the tokens since the line before over the seconds
since. So where as many requests run at both lines and no prompt was computed in between, a step took
#running-req / throughput seconds on average, and its contexts added up to the mean of both lines' #token, which counts
a shared beginning once. All other pairs of lines are left out. Nothing is said of steps with prompts: the throughput of
``Prefill batch`` lines is that since the line before, idle time included.

No other engine's own log has what a step's price depends on, the contexts: vLLM's
``--enable-logging-iteration-details`` and TensorRT-LLM's ``print_iter_log`` count requests and new tokens only, and
vLLM's periodic line is a mean over all that ran for seconds.
"""

import re
from pathlib import Path

from hardware_profiles.files import read_text
from hardware_profiles.timings import TimedStep
from simulator.errors import InputError
from simulator.replica.cost import StepShape

_SUFFIXES = (".log", ".txt", ".out")
_BATCH = re.compile(r"(?:^\[[-\d]+[ T][:.,\d]+ ?(?P<rank>[^\]]*)\] )?(?P<kind>Decode|Prefill) batch\b")
_DECODE = re.compile(r"#running-req: (\d+), #token: (\d+),.*gen throughput \(token/s\): (\d+(?:\.\d+)?)")
_WITHOUT_CONTEXTS = {
    "iteration elapsed time": "vLLM's iteration details do not say how long contexts are",
    "prev_device_step_time": "TensorRT-LLM's iteration log does not say how long contexts are",
    "Avg generation throughput": "vLLM's periodic lines are means over seconds, not of alike steps",
}
_EXPECTED = "expected a log of SGLang, a CSV of steps, or results of load tests"


def is_log(path: Path) -> bool:
    """Whether a file is to be read as an engine's log, by the end of its name."""
    return path.suffix.lower() in _SUFFIXES


def read_log(path: Path) -> list[TimedStep]:
    """Return a step, the mean of those between two lines, for each pair of lines that tells one.

    A stretch of pairs one after another is one run. Raises InputError for the log of another engine, and naming the
    line for one with speculation or a cache of several kinds; where no pair tells a step, it says so.
    """
    steps: list[TimedStep] = []
    before: dict[str, tuple[int, int]] = {}  # of each rank: requests and tokens of its last decode line
    lines = stretch = 0
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        batch = _BATCH.search(line)
        if batch is None:
            continue
        rank = batch["rank"] or ""
        if batch["kind"] == "Prefill":
            before.pop(rank, None)
            continue
        seqs, tokens, per_s = _decode(line, f"{path}, line {number}")
        lines += 1
        last = before.get(rank)
        before[rank] = seqs, tokens
        if last is None or last[0] != seqs or tokens <= last[1] or not seqs or not per_s:
            stretch += 1
            continue
        context = round((tokens + last[1]) / 2)
        shape = StepShape(decode_seqs=seqs, decode_context_tokens=max(context, seqs))
        steps.append(TimedStep(shape, 1e3 * seqs / per_s, "decode", str(stretch)))
    if not steps:
        raise InputError(f"{path}: {_why_none(text, lines)}")
    return steps


def _decode(line: str, where: str) -> tuple[int, int, float]:
    """Return running requests, their tokens, and tokens per second."""
    if "accept len" in line:
        raise InputError(f"{where}: with speculation a step makes several tokens; expected a log without it")
    found = _DECODE.search(line)
    if found is None:
        raise InputError(
            f"{where}: expected '#running-req: N, #token: N, ... gen throughput (token/s): X' of a decode batch,"
            f" got {line.partition('Decode batch')[2].strip()[:60]!r}"
        )
    return int(found[1]), int(found[2]), float(found[3])


def _why_none(text: str, lines: int) -> str:
    if lines:
        return (
            f"{lines} lines on decode batches, but no two in a row of as many requests without a prompt in between;"
            " expected a log of a steadier load, or one with --decode-log-interval 1"
        )
    what = next(
        (said for mark, said in _WITHOUT_CONTEXTS.items() if mark in text), "no line on a decode batch"
    )
    return f"{what}; {_EXPECTED}"
