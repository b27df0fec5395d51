"""What a load test recorded of a real server, as a result: the same tables and metrics, without an engine.

requests.parquet   as of a simulation; prompt_tokens is -1 where the file of the load test does not say
tokens.parquet     request_id, token_index, delivered_s; only where the file has the time of each token
manifest.json      the file, what it does not tell, and by what the run is scored
summary.json       every metric, without ``engine`` and ``cost``
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.errors import InputError
from simulator.metrics import summarise
from simulator.metrics._distribution import distribution
from simulator.metrics._window import Window, measured
from simulator.results.arrow import requests_table
from simulator.results.engine_summary import traffic_summary
from simulator.results.imports._served import ServedRun
from simulator.results.result import Result
from simulator.results.scoring import Scoring
from simulator.results.step_totals import BINS, LoadOverTime
from simulator.results.tokens import TokenSource
from simulator.results.trace_level import MEASURED_REQUESTS, MEASURED_TOKENS, kept_tables

if TYPE_CHECKING:
    import pyarrow as pa


# Families that say nothing where only first and last tokens have times, and the distributions of others.
_BY_TOKEN = ("smooth_goodput", "idle_latency", "token_slo", "fluidity", "qoe", "fluid_rate")
_GAPS = ("tbt_s", "tbt_p99_per_request_s", "tbt_max_per_request_s")


class MeasuredResult(Result):
    """A load test of a real server; ``measured_result`` makes one."""

    def __init__(
        self, requests: Columns, tokens: Columns | TokenSource | None, manifest: dict[str, Any]
    ) -> None:
        """``tokens`` are None where only the first and last token of each request have times."""
        times = {"delivered_s": _evenly(requests)} if tokens is None else tokens  # which no table shows
        super().__init__(requests, times, None, manifest)

    @property
    def spread_evenly(self) -> bool:
        """Whether tokens between the first and the last count as if they had come evenly."""
        return bool(self.manifest["measured"]["spread_evenly"])

    @property
    def scored_by_token(self) -> bool:
        """Whether metrics that look at every token are measured."""
        return self.manifest["measured"]["token_times"] == "each" or self.spread_evenly

    def requests(self) -> "pa.Table":
        """Return one row a request: lengths, state, milestones in seconds (null: never happened)."""
        assert self.request_columns is not None
        return requests_table(self.request_columns)

    def _require(self, table: str) -> None:
        if table not in kept_tables(self.trace_level):
            why = "only first and last tokens have times" if table == "tokens" else "its engine is not known"
            raise InputError(
                f"no {table} in this result of a real server: {why}; expected those of a simulation"
            )

    def _summarise(self, by: Scoring) -> dict[str, Any]:
        file = self.manifest["measured"]["file"]
        if by.user.weight_input and not self.manifest["measured"]["has_prompts"]:
            raise InputError(f"user.weight_input: {file} does not say how long prompts are; expected 0")
        if by.slo.tail_tbt_s is not None and self.manifest["measured"]["token_times"] != "each":
            raise InputError(f"slo.tail_tbt_s: {file} has no times between tokens; expected no such bound")
        window = by.window
        if not self.manifest["measured"]["has_times"]:
            if window not in (Window(), Window("whole")):
                raise InputError(
                    f"metrics.window, run.trim_*: {file} does not say when requests were sent; expected none of them"
                )
            window = Window("whole")
        metrics = summarise(measured(self.log, window), by.user, by.slo, by.also)
        metrics["window"]["rule"] = window.rule
        found: dict[str, Any] = {
            "partial": self.partial,
            "stalled": None,
            "options": {"user": vars(by.user) | {"alpha": by.user.alpha_tokens}, "slo": vars(by.slo)},
            **metrics,
            "traffic": traffic_summary(self.log),
        }
        if not self.manifest["measured"]["has_prompts"]:
            found["traffic"]["prompt_tokens"] = None
            found["throughput"] |= {"total_tokens_per_s": None, "prompt_tokens_processed": None}
        if self.manifest["measured"]["token_times"] != "each":
            self._leave_out(found)
        return found

    def _leave_out(self, found: dict[str, Any]) -> None:
        """Take out what nothing is known of without the time of each token."""
        for name in _GAPS:
            found["latency"][name] = distribution(np.empty(0), found["latency"][name]["over"])
        if self.spread_evenly:
            return
        for name in _BY_TOKEN:
            if name in found:
                found[name] = {"not_measured": "only the first and the last token of an answer have times"}
        if found["window"]["rule"] != "whole":  # in which all tokens fall, whenever they came
            found["window"]["share_of_tokens"] = found["slo"]["goodput_tokens_per_s"] = None
            found["throughput"] |= {
                "output_tokens_per_s": None,
                "output_tokens": None,
                "total_tokens_per_s": None,
            }

    def saved_manifest(self) -> dict[str, Any]:
        """Return the manifest; all tables that there are are kept."""
        return self.manifest

    def load_over_time(self, bins: int = BINS) -> LoadOverTime | None:
        """Return None: what ran and waited inside the server is not known."""
        return None

    @property
    def usable_blocks(self) -> Ints:
        """None are known."""
        return np.empty(0, np.int64)


def measured_result(
    run: ServedRun,
    path: Path | str,
    scoring: Mapping[str, Any],
    *,
    spread_evenly: bool = False,
    workload: Mapping[str, Any] | None = None,
) -> MeasuredResult:
    """Return the result of a run that was read from a file, or observed at a URL (``path``).

    ``scoring`` has the sections user, slo, metrics and run of a scenario, as its ``model_dump`` does. With
    ``spread_evenly`` tokens between the first and the last of an answer that have no times count as if they had
    come evenly. ``workload`` is that section of the scenario that the server was driven with, if it is known.
    """
    counts = run.output_tokens
    requests: Columns = {
        "request_id": np.arange(len(run.arrival_s), dtype=np.int32),
        "arrival_s": run.arrival_s,
        "prompt_tokens": run.prompt_tokens,
        "output_tokens": counts,
        "state": run.state,
        "end_s": run.end_s,
        "delivered_tokens": counts.astype(np.int32),
        "first_scheduled_s": np.full(len(counts), np.nan),
        "first_token_s": run.first_s,
        "last_token_s": run.last_s,
    }
    if run.thinking_tokens is not None:
        requests["thinking_tokens"] = run.thinking_tokens
    requests |= run.columns
    tokens: Columns | None = None
    if run.delivered_s is not None:
        before = np.cumsum(counts) - counts
        tokens = {
            "request_id": np.repeat(requests["request_id"], counts),
            "token_index": (np.arange(len(run.delivered_s)) - np.repeat(before, counts) + 1).astype(np.int32),
            "delivered_s": run.delivered_s,
        }
    evenly = spread_evenly and run.token_times != "each"
    manifest = {
        "measured": {
            "tool": run.tool,
            "file": str(path),
            "source": f"file of {run.tool}" if workload is None else f"{path}, by {run.tool}",
            "notes": list(dict.fromkeys([*run.notes, *_said(run, evenly)])),  # one read back has them already
            "token_times": run.token_times,
            "spread_evenly": evenly,
            "has_prompts": run.has_prompts,
            "has_times": run.has_times,
        },
        "scenario": {
            "name": run.name,
            "hardware": {"model": run.model},
            "workload": dict(workload or {}),
            **{name: scoring[name] for name in ("user", "slo", "metrics", "run")},
        },
        "trace_level": MEASURED_TOKENS if tokens is not None else MEASURED_REQUESTS,
        "workload": {
            "source": f"{path}, file of {run.tool}" if workload is None else f"{path}, by {run.tool}"
        },
        "end_of_run_s": run.end_of_run_s,
        "partial": run.partial,
        "stalled": None,
    }
    return MeasuredResult(requests, tokens, manifest)


def _said(run: ServedRun, evenly: bool) -> Sequence[str]:
    """Return what follows where only the first and last tokens have times."""
    if run.token_times == "each":
        return ()
    if evenly:
        return (
            "tokens between are counted as if they had come evenly; a reader of a steady speed waits at least as long"
            " as that says, so smooth goodput over the whole run is at most what is shown",
        )
    return (
        "measured are TTFT, TPOT, E2E and their bounds, and nothing by token (smooth goodput, idle latency, TBT);"
        " --even shows what smooth goodput is at most",
    )


def _evenly(columns: Columns) -> Floats:
    """Return times of all tokens, evenly from the first to the last of each request."""
    counts = columns["delivered_tokens"].astype(np.int64)
    first_s, last_s = (np.nan_to_num(columns[name]) for name in ("first_token_s", "last_token_s"))
    nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    share = nth / np.repeat(np.maximum(counts - 1, 1), counts)
    times_s: Floats = np.repeat(first_s, counts) + share * np.repeat(last_s - first_s, counts)
    return np.where(share == 1.0, np.repeat(last_s, counts), times_s)
