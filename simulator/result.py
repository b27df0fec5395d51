"""What a run leaves behind: tables and a manifest, in memory or in a folder.

requests.parquet   one row a request, in order of arrival
tokens.parquet     one row a token, in order of request and position
steps.parquet      one row an engine step, in order of replica and time
transfers.parquet  one row a KV cache that went from replica to replica, where any did
manifest.json      scenario, seed, versions, hardware sums
summary.json       every metric, for the scenario's user and targets
overview.png       the run at a glance
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.request import RequestState
from simulator.saved import claim, read_folder

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, NDArray[Any]]

STATES = [state.name.lower() for state in RequestState]
TABLES = ("requests", "tokens", "steps")
_OPTIONAL_TIMES = ("first_scheduled_s", "first_token_s", "last_token_s")


class Result:
    """A finished (or cut off) run; everything else is computed from it."""

    def __init__(
        self,
        requests: Columns,
        tokens: Columns,
        steps: Columns,
        manifest: dict[str, Any],
        transfers: Columns | None = None,
    ) -> None:
        """Columns as ``simulator.tables`` makes them; the manifest is what ``run`` writes."""
        self._columns = {"requests": requests, "tokens": tokens, "steps": steps}
        if transfers is not None and len(transfers["bytes"]):
            self._columns["transfers"] = transfers
        self.manifest = manifest

    @property
    def partial(self) -> bool:
        """Whether the run was cut off before its end (interrupted or stalled)."""
        return bool(self.manifest["partial"]) or self.manifest["stalled"] is not None

    def requests(self) -> "pa.Table":
        """Return one row a request: lengths, state, milestones in seconds (null: never happened)."""
        import pyarrow as pa

        columns = self._columns["requests"]
        table = {name: _arrow(column) for name, column in columns.items()}
        table["state"] = pa.DictionaryArray.from_arrays(table["state"], _strings(STATES))
        for name in _OPTIONAL_TIMES:
            table[name] = _arrow(columns[name], nan_is_null=True)
        return pa.table(table)

    def tokens(self) -> "pa.Table":
        """Return one row a token: request_id, token_index (from 1), generated_s, delivered_s, replica, step."""
        return _table(self._columns["tokens"])

    def steps(self) -> "pa.Table":
        """Return one row an engine step: times, tokens, running, waiting, KV blocks used."""
        return _table(self._columns["steps"])

    def transfers(self) -> "pa.Table | None":
        """Return one row a KV cache that went from replica to replica; None if none did."""
        import pyarrow as pa

        columns = self._columns.get("transfers")
        if columns is None:
            return None
        table = {name: _arrow(column) for name, column in columns.items() if column.dtype.kind not in "Ub"}
        table["kind"] = pa.array(columns["kind"].tolist())
        table["arrived"] = pa.array(columns["arrived"].tolist())
        return pa.table({name: table[name] for name in columns})

    @cached_property
    def log(self) -> RequestLog:
        """The delivery record that the metrics read."""
        requests = self._columns["requests"]
        arrival_s = requests["arrival_s"]
        return RequestLog(
            arrival_s=arrival_s,
            prompt_tokens=requests["prompt_tokens"],
            output_tokens=requests["output_tokens"],
            state=requests["state"],
            end_s=requests["end_s"],
            token_offsets=np.concatenate([[0], np.cumsum(requests["delivered_tokens"], dtype=np.int64)]),
            delivered_s=self._columns["tokens"]["delivered_s"],
            start_s=float(arrival_s[0]) if len(arrival_s) else 0.0,
            end_of_run_s=self.manifest["end_of_run_s"],
        )

    def summary(self, user: UserModel | None = None, slo: Slo | None = None) -> dict[str, Any]:
        """Return every metric, for the scenario's user and targets or for others.

        Pure function of the saved records: no re-simulation.
        """
        if user is None and slo is None:
            return self._own_summary
        scenario = self.manifest["scenario"]
        return self._summarise(user or UserModel(**scenario["user"]), slo or Slo(**scenario["slo"]))

    @cached_property
    def _own_summary(self) -> dict[str, Any]:
        scenario = self.manifest["scenario"]
        return self._summarise(UserModel(**scenario["user"]), Slo(**scenario["slo"]))

    def _summarise(self, user: UserModel, slo: Slo) -> dict[str, Any]:
        scenario = self.manifest["scenario"]
        log = self.log.trim(scenario["run"]["trim_warmup"], scenario["run"]["trim_cooldown"])
        metrics = summarise(log, user, slo)
        return {
            "partial": self.partial,
            "stalled": self.manifest["stalled"],
            "options": {"user": vars(user) | {"alpha": user.alpha_tokens}, "slo": vars(slo)},
            **metrics,
            "engine": self._engine_summary(),
            "cost": self._cost(metrics),
        }

    def save(self, folder: Path | str, *, plot: bool = True, overwrite: bool = False) -> None:
        """Write all files into ``folder``, which must be new or empty unless ``overwrite`` is set.

        Raises InputError for a folder in use, and OSError where the disk refuses.
        """
        import pyarrow.parquet as pq

        folder = Path(folder)
        claim(folder, overwrite)
        summary = self.summary()
        for name in self._columns:
            # No dictionaries, no statistics: for these columns they cost time and save nothing.
            pq.write_table(
                getattr(self, name)(),
                folder / f"{name}.parquet",
                compression="zstd",
                use_dictionary=["state"] if name == "requests" else False,
                write_statistics=False,
                write_page_checksum=True,
            )
        for name, content in (("manifest", self.manifest), ("summary", summary)):
            (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if plot:
            self.plot(folder / "overview.png")

    def plot(self, path: Path) -> None:
        """Draw the run at a glance."""
        from simulator.plots import overview

        scenario = self.manifest["scenario"]
        overview(
            self.log,
            self._columns["steps"],
            int(self._usable_blocks().sum()),
            UserModel(**scenario["user"]),
            path,
            scenario["name"],
        )

    @classmethod
    def load(cls, folder: Path | str) -> "Result":
        """Read a saved result; raises InputError naming the file that is missing or damaged."""
        columns, manifest = read_folder(Path(folder), TABLES)
        return cls(
            columns["requests"], columns["tokens"], columns["steps"], manifest, columns.get("transfers")
        )

    def _engine_summary(self) -> dict[str, Any]:
        steps, log = self._columns["steps"], self.log
        lasted_s = steps["end_s"] - steps["start_s"]
        busy_s = float(lasted_s.sum())
        blocks = self._usable_blocks()
        used = steps["kv_blocks_used"] / blocks[steps["replica"]]
        window_s = log.window_s * len(blocks)
        return {
            "steps": len(lasted_s),
            "busy_share": busy_s / window_s if window_s else 0.0,
            "kv_usage_mean": float(used @ lasted_s) / busy_s if busy_s else 0.0,
            "kv_usage_max": float(used.max(initial=0.0)),
            "kv_nearly_full_share": float(lasted_s[used >= 0.95].sum()) / busy_s if busy_s else 0.0,
            "preemptions": int(steps["preemptions"].sum()),
            "waiting_max": int(steps["waiting"].max(initial=0)),
            "running_max": int(steps["running"].max(initial=0)),
            "cut_at_max_model_len": int(
                np.count_nonzero(log.completed & (log.token_counts < log.output_tokens))
            ),
            "extrapolated_share": self.manifest["extrapolated_share"],
            **self._prefix_cache(),
            **self._moves(),
        }

    def _usable_blocks(self) -> NDArray[np.int64]:
        """KV blocks that requests can use, of each replica."""
        pools = self.manifest["pools"]
        return np.repeat([each["usable_blocks"] for each in pools], [each["replicas"] for each in pools])

    def _moves(self) -> dict[str, Any]:
        """How many KV caches went from replica to replica, and how long they took; nothing where none did."""
        found: dict[str, Any] = {}
        columns = self._columns.get("transfers")
        for kind in ("hand_off", "migration") if columns is not None else ():
            assert columns is not None
            mine = columns["kind"] == kind
            arrived = mine & columns["arrived"]
            if mine.any():
                took_s = (columns["end_s"] - columns["start_s"])[arrived]
                found |= {
                    f"{kind}s": int(arrived.sum()),
                    f"{kind}s_called_off": int(mine.sum() - arrived.sum()),
                    f"{kind}_bytes": float(columns["bytes"][mine].sum()),
                    f"{kind}_s_mean": float(took_s.mean()) if len(took_s) else None,
                }
        return found

    def _prefix_cache(self) -> dict[str, Any]:
        """What the prefix caches found; nothing where there was none."""
        counts = self.manifest.get("prefix_cache")
        if counts is None:
            return {}
        hit, looked_up = counts["hit_tokens"], counts["looked_up_tokens"]
        return {
            "prefix_hit_tokens": hit,
            "prefix_looked_up_tokens": looked_up,
            "prefix_hit_share": hit / looked_up if looked_up else None,
        }

    def _cost(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        hours = metrics["window"]["duration_s"] / 3600
        usd = self.manifest["usd_per_gpu_hour"] * self.manifest["gpus"] * hours
        tokens = metrics["throughput"]["output_tokens"]
        benefit = metrics["smooth_goodput"]["benefit_tokens"]
        return {
            "gpus": self.manifest["gpus"],
            "usd": usd,
            "usd_per_gpu_hour": self.manifest["usd_per_gpu_hour"],
            "usd_per_million_output_tokens": usd / tokens * 1e6 if tokens else None,
            "usd_per_million_smooth_good_tokens": usd / benefit * 1e6 if benefit > 0 else None,
        }


def _table(columns: Columns) -> "pa.Table":
    import pyarrow as pa

    return pa.table({name: _arrow(column) for name, column in columns.items()})


def _arrow(column: NDArray[Any], nan_is_null: bool = False) -> "pa.Array":
    """Wrap a column's memory. (``pa.array`` would first import pandas, where it is installed.)"""
    import pyarrow as pa

    column = np.ascontiguousarray(column)
    missing = None
    if nan_is_null:
        missing = pa.py_buffer(np.packbits(~np.isnan(column), bitorder="little"))
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(column.dtype), len(column), [missing, pa.py_buffer(column)]
    )


def _strings(words: list[str]) -> "pa.Array":
    import pyarrow as pa

    offsets = np.cumsum([0, *map(len, words)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer("".join(words).encode("ascii"))]
    return pa.Array.from_buffers(pa.string(), len(words), buffers)
