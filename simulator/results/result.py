"""What a run leaves behind: tables and a manifest, in memory or in a folder.

requests.parquet   one row a request, in order of arrival
tokens.parquet     one row a token, in order of request and position
steps.parquet      one row an engine step, in order of replica and time
transfers.parquet  one row a KV cache that went from replica to replica, where any did
scaling.parquet    one row a replica of a pool that is scaled: when it was ordered, ready, released
work.parquet       one row a chunk of a prompt that a step computed, and one a preemption
manifest.json      scenario, seed, versions, hardware sums
summary.json       every metric, for the scenario's user and targets
overview.png       the run at a glance, drawn by ``simulator.report.plots.overview``

Which of the tables there are is the run's trace level (``simulator.results.trace_level``). Below ``tokens`` what the
metrics made of each request's tokens is kept instead, for the scenario's user: in columns of the requests named
``file.function`` after what made them, and in the manifest what was pooled.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics._log import OF_READERS
from simulator.metrics._streamed import StreamedLog
from simulator.metrics._window import Window, measured
from simulator.results.arrow import arrow_table, requests_table
from simulator.results.billing import bill, price
from simulator.results.classes import pooled_by_class, with_classes
from simulator.results.energy import energy
from simulator.results.engine_summary import engine_summary, traffic_summary
from simulator.results.folded_tokens import FoldedTokens
from simulator.results.folders import claimed
from simulator.results.grades import quality
from simulator.results.measures import check_kept, kept, per_request, pooled
from simulator.results.notebook import ShownResult
from simulator.results.optional_tables import OptionalTables
from simulator.results.pools import pooled_by_pool, with_pools
from simulator.results.saved import OPTIONAL, read_folder
from simulator.results.scoring import Scoring
from simulator.results.step_totals import BINS, LoadOverTime, StepTotals, add_up, bin_edges
from simulator.results.tables import split_by_replica
from simulator.results.tokens import KEPT_TOKENS, TokenSource, TokenTable, joined
from simulator.results.trace_level import kept_tables
from simulator.results.writing import write_folder

if TYPE_CHECKING:
    import pyarrow as pa


class Result(OptionalTables, ShownResult):
    """A finished (or cut off) run; everything else is computed from it."""

    def __init__(
        self,
        requests: Columns | None,
        tokens: Columns | TokenSource | None,
        steps: Columns | StepTotals | None,
        manifest: dict[str, Any],
        transfers: Columns | None = None,
        scaling: Columns | None = None,
        work: Columns | None = None,
    ) -> None:
        """Columns as ``simulator.results.tables`` makes them; the manifest is what ``run`` writes.

        Below trace level "tokens" there may be only totals of the steps; read from a folder, no tokens or requests.
        """
        self.manifest, self._requests = manifest, requests
        super().__init__(transfers, scaling, work)
        self._steps = steps
        if isinstance(tokens, dict):
            assert requests is not None
            tokens = TokenTable(tokens, requests["delivered_tokens"])
        self._tokens = tokens

    @property
    def partial(self) -> bool:
        """Whether the run was cut off before its end (interrupted or stalled)."""
        return bool(self.manifest["partial"]) or self.manifest["stalled"] is not None

    @property
    def trace_level(self) -> str:
        """How much of the run is kept: "tokens", "steps", "requests" or "summary"."""
        return str(self.manifest.get("trace_level", "tokens"))

    def requests(self) -> "pa.Table":
        """Return one row a request: lengths, state, milestones in seconds (null: never happened).

        Raises InputError below the trace level "requests", as the other tables do below theirs.
        """
        self._require("requests")
        assert self._requests is not None
        if self.trace_level == "tokens" or self._tokens is None:  # a folder's columns have all that was kept
            return requests_table(self._requests)
        return requests_table(self._requests | per_request(self.measured.all, self.user))

    def tokens(self) -> "pa.Table":
        """Return one row a token: request_id, token_index (from 1), generated_s, delivered_s, replica, step.

        The table is made at every call, and has some 32 bytes a token.
        """
        self._require("tokens")
        assert self._tokens is not None
        return arrow_table(joined(self._tokens))

    def token_tables(self) -> "Iterator[pa.Table]":
        """Yield the rows of ``tokens`` some at a time; at least one table, which may be empty."""
        self._require("tokens")
        assert self._tokens is not None
        return map(arrow_table, self._tokens.pieces())

    def steps(self) -> "pa.Table":
        """Return one row an engine step: times, tokens, running, waiting, KV blocks used."""
        self._require("steps")
        assert isinstance(self._steps, dict)
        return arrow_table(self._steps)

    @property
    def request_columns(self) -> Columns | None:
        """What ``requests`` is made from, at any trace level; None read from a folder that has none."""
        return self._requests

    def _require(self, table: str) -> None:
        if table not in kept_tables(self.trace_level):
            raise InputError(
                f"no {table} in this result, whose run.trace_level is {self.trace_level!r}; expected {table!r}"
                + (" or above" if table != "tokens" else "")
            )

    @cached_property
    def log(self) -> RequestLog:
        """The delivery record of all requests, over the time from the first arrival to the last event."""
        requests = self._requests
        if requests is None:
            self._require("requests")
            raise AssertionError
        counts, arrival_s = requests["delivered_tokens"], requests["arrival_s"]
        columns: dict[str, Any] = {
            **{name: requests[name] for name in ("arrival_s", "output_tokens", "state", "end_s")},
            "prompt_tokens": np.maximum(
                requests["prompt_tokens"], 0
            ),  # -1: a file of a real server does not say
            "token_offsets": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            **{name: requests.get(name) for name in OF_READERS},
            "start_s": float(arrival_s[0]) if len(arrival_s) else 0.0,
            "end_of_run_s": self.manifest["end_of_run_s"],
        }
        delivered_s = None if self._tokens is None else self._tokens.delivered_s
        if delivered_s is not None:
            return RequestLog(**columns, delivered_s=delivered_s)
        return StreamedLog(
            **columns,
            first_s=requests["first_token_s"],
            last_s=requests["last_token_s"],
            source=self._tokens,
            saved=kept(requests, self.manifest["pooled"], self.user)
            if self._tokens is None
            else getattr(self._tokens, "readings", {}),
        )

    def summary(
        self,
        user: UserModel | None = None,
        slo: Slo | None = None,
        window: Window | None = None,
        also: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Return every metric, for the scenario's user, targets, window and wishes (``metrics.also``) or for others.

        Pure function of the saved records. Raises InputError where their trace level does not hold what others need.
        """
        own = self.scoring
        asked = own.changed(user=user, slo=slo, window=window, also=also)
        if asked == own:
            return self._own_summary
        if self._requests is None or isinstance(self._tokens, FoldedTokens):
            raise InputError(
                "only the summary of this run was kept (run.trace_level = 'summary'), for its own user, slo and"
                " metrics; for others, expected a run with trace_level = 'requests' or above"
            )
        if self._tokens is None and (asked.user.reading, asked.window) != (own.user.reading, own.window):
            raise InputError(
                "metrics.window and what says in [user] when tokens are due (V, origin, S, unserved, how it reads): the"
                f" tokens of this run were not kept (run.trace_level = {self.trace_level!r}); expected those of the"
                " run, or a run with trace_level = 'tokens'"
            )
        return self._summarise(asked)

    @cached_property
    def _own_summary(self) -> dict[str, Any]:
        return self._summarise(self.scoring)

    @property
    def scoring(self) -> Scoring:
        """By what the scenario has the run scored."""
        return Scoring.of(self.manifest["scenario"])

    @property
    def user(self) -> UserModel:
        """The scenario's user."""
        return self.scoring.user

    @cached_property
    def measured(self) -> RequestLog:
        """The delivery record of the requests that arrived in the scenario's window."""
        return measured(self.log, self.scoring.window)

    def _summarise(self, by: Scoring) -> dict[str, Any]:
        if self._tokens is None and self._requests is not None and "pooled" in self.manifest:
            check_kept(self._requests, self.manifest)
        own = by.window == self.scoring.window
        metrics = summarise(self.measured if own else measured(self.log, by.window), by.user, by.slo, by.also)
        metrics["window"]["rule"] = by.window.rule
        metrics = with_classes(metrics, self.log, self._requests or {}, self.manifest, by)
        metrics = with_pools(metrics, self.log, self._requests or {}, self.manifest, self._scaling, by)
        return {
            "partial": self.partial,
            "stalled": self.manifest["stalled"],
            "options": {"user": vars(by.user) | {"alpha": by.user.alpha_tokens}, "slo": vars(by.slo)},
            **metrics,
            "traffic": traffic_summary(self.log),
            "engine": engine_summary(self._totals, self.log, self.manifest, self._transfers, self._scaling),
            "cost": (cost := self._cost(metrics)),
            **quality(self.log, self._requests or {}, by, cost["usd"]),
            **energy(self.manifest, self.log),
        }

    def save(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write all files but the picture into ``folder``, which must be new or empty unless ``overwrite`` is set.

        Raises InputError for a folder in use, and OSError where the disk refuses.
        """
        with claimed(Path(folder), overwrite) as own:
            self.write(own)

    def write(self, folder: Path) -> None:
        """Write all files but the picture into ``folder``, which the caller has claimed; OSError as in ``save``."""
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(self, folder, self._tokens if "tokens" in kept_tables(self.trace_level) else None)

    def load_over_time(self, bins: int = BINS) -> LoadOverTime | None:
        """Return what ran, waited and filled the KV cache over so many bins of time, for a picture.

        None if the run took no time. Raises InputError for a result read from a folder without tokens.
        """
        if self._tokens is None:
            self._require("tokens")
        return self._add_up(bin_edges(self.log.arrival_s, self.log.end_s, bins)).load

    @classmethod
    def load(cls, folder: Path | str) -> "Result":
        """Read a saved result; raises InputError naming the file that is missing or damaged."""
        tables, manifest, summary = read_folder(Path(folder), KEPT_TOKENS)
        if "measured" in manifest:
            from simulator.results.measured import MeasuredResult  # which is made from this class

            return MeasuredResult(tables["requests"], tables.get("tokens"), manifest)
        steps = tables.get("steps") or StepTotals(**manifest["steps"])
        requests, tokens = tables.get("requests"), tables.get("tokens")
        result = cls(requests, tokens, steps, manifest, *(tables.get(name) for name in OPTIONAL))
        if summary:
            vars(result)["_own_summary"] = summary
        return result

    def saved_manifest(self) -> dict[str, Any]:
        """Return the manifest with what is left of the tables that are not kept."""
        left: dict[str, Any] = {}
        if "steps" not in kept_tables(self.trace_level):
            left["steps"] = self._totals.as_dict()
        if self.trace_level in ("steps", "requests"):
            left["pooled"] = pooled(self.measured, self.user)
            of_run = self.log, self._requests or {}, self.manifest, self.scoring
            left |= pooled_by_class(*of_run) | pooled_by_pool(*of_run)
        return self.manifest | left

    @cached_property
    def _totals(self) -> StepTotals:
        return self._add_up(None)

    def _add_up(self, edges_s: Floats | None) -> StepTotals:
        if isinstance(self._steps, StepTotals):
            return self._steps
        assert self._steps is not None
        return add_up(split_by_replica(self._steps), self.usable_blocks, edges_s)

    @property
    def usable_blocks(self) -> Ints:
        """KV blocks that requests can use, of each replica."""
        pools = self.manifest["pools"]
        places = [each.get("places", each["replicas"]) for each in pools]
        return np.repeat([each["usable_blocks"] for each in pools], places)

    def _cost(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        window = metrics["window"]
        paid = bill(self.manifest, self._scaling, window["start_s"], window["end_s"])
        return price(paid, self.manifest["usd_per_gpu_hour"], metrics)
