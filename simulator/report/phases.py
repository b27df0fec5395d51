"""What a request did from its arrival to its last token: phases one after another, without gaps."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.errors import InputError
from simulator.report.single_tokens import single_decodes
from simulator.results.result import Result

if TYPE_CHECKING:
    import pyarrow as pa

Doing = Literal["read", "queued", "prefill", "decode", "paused", "preempted", "transfer", "delivery", "gone"]
_CLOSE_S = 1e-9  # steps so close follow one another


class Phase(NamedTuple):
    """A stretch of time, absolute seconds."""

    doing: Doing
    start_s: float
    end_s: float
    steps: int = 0  # in which the request was

    @property
    def lasts_s(self) -> float:
        """How long it takes."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Histories:
    """The records of a run, sorted for looking up single requests.

    Raises InputError for a result whose trace level keeps no tokens.
    """

    result: Result
    requests: Columns
    tokens: Columns
    offsets: Ints  # tokens before each request
    work: Columns  # a chunk that gives a running request its next token alone is of the kind "decode"
    work_order: Ints  # rows of ``work`` by request
    work_offsets: Ints
    transfers: Columns
    step_start_s: dict[int, Floats]  # by replica
    step_end_s: dict[int, Floats]
    steps: Columns

    @classmethod
    def of(cls, result: Result) -> "Histories":
        """Sort the records of a run."""
        if "measured" in result.manifest:
            raise InputError(
                "phases of requests: of a real server the steps are not known; expected a simulated run"
            )
        if result.trace_level != "tokens":
            raise InputError(
                f"phases of requests: this run kept {result.trace_level}; expected a run with trace_level = 'tokens'"
            )
        done = result.work()
        if done is None:
            raise InputError(
                "phases of requests: this run was saved before chunks and preemptions were; run it anew"
            )
        requests, tokens, work = (columns_of(each) for each in (result.requests(), result.tokens(), done))
        kinds = work["kind"].astype(np.str_)
        work["kind"] = np.where(single_decodes(requests, tokens, work), "decode", kinds)
        n = len(requests["arrival_s"])
        moved = result.transfers()
        steps = columns_of(result.steps())
        replicas = np.unique(steps["replica"]).tolist()
        mine = {replica: steps["replica"] == replica for replica in replicas}
        order = np.argsort(work["request_id"], kind="stable")
        return cls(
            result,
            requests,
            tokens,
            np.searchsorted(tokens["request_id"], np.arange(n + 1)),
            work,
            order,
            np.searchsorted(work["request_id"][order], np.arange(n + 1)),
            {} if moved is None else columns_of(moved),
            {replica: steps["start_s"][mine[replica]] for replica in replicas},
            {replica: steps["end_s"][mine[replica]] for replica in replicas},
            steps,
        )

    def work_of(self, request: int) -> Ints:
        """Return the rows of ``work`` of a request, in order."""
        rows = self.work_order[self.work_offsets[request] : self.work_offsets[request + 1]]
        found: Ints = rows[np.argsort(self._starts(rows), kind="stable")]
        return found

    def prompts_beside(self, replica: int, step: int) -> int:
        """Return how many chunks of prompts a step computed."""
        first, last = np.searchsorted(self._prefill_keys, self._key(replica, step) + np.array([0, 1]))
        return int(last - first)

    @cached_property
    def began_on(self) -> Ints:
        """The replica whose queue each request was in first; where none began it, the one it is noted to be on."""
        found: Ints = self.requests["replica"].copy()
        # The last to begin come first, so that what began first is what stays
        rows = np.argsort(-self._starts(np.arange(len(self.work["step"]))), kind="stable")
        found[self.work["request_id"][rows]] = self.work["replica"][rows]
        return found

    def policy(self, replica: int) -> str:
        """Return the name of a replica's scheduling policy."""
        names: list[str] = []
        for pool in self.result.manifest["pools"]:
            names += [str(pool["scheduling"])] * pool.get("places", pool["replicas"])
        return names[replica]

    @cached_property
    def _prefill_keys(self) -> Ints:
        """The step of each chunk of a prompt as one number, sorted."""
        rows = self.work["kind"] == "prefill"
        keys: Ints = np.sort(self._key(self.work["replica"][rows].astype(np.int64), self.work["step"][rows]))
        return keys

    def _key(self, replica: Any, step: Any) -> Any:
        return replica * (1 << 32) + step

    def _starts(self, rows: Ints) -> Floats:
        where = zip(self.work["replica"][rows].tolist(), self.work["step"][rows].tolist(), strict=True)
        return np.array([self.step_start_s[replica][step] for replica, step in where])

    def phases(self, request: int) -> list[Phase]:
        """Return what a request did, from its arrival to its end: each phase begins where the one before ended."""
        arrival_s, ends_s = float(self.requests["arrival_s"][request]), self._ends_s(request)
        found = [Phase("read", arrival_s, self._read_s(request, arrival_s, ends_s))]
        for busy in self._busy(request):
            start_s, end_s = max(busy.start_s, found[-1].end_s), min(busy.end_s, ends_s)
            if end_s <= start_s:
                continue
            if start_s - found[-1].end_s > _CLOSE_S:
                found += self._idle(request, found[-1].end_s, start_s, first=len(found) == 1)
            last = found[-1]
            if last.doing == busy.doing:
                found[-1] = Phase(last.doing, last.start_s, end_s, last.steps + busy.steps)
            else:
                found.append(Phase(busy.doing, last.end_s, end_s, busy.steps))
        if ends_s > found[-1].end_s:
            waits = len(found) == 1
            last_s = self.requests["last_token_s"][request]
            if not waits and ends_s <= (last_s if np.isfinite(last_s) else -np.inf):
                found.append(Phase("delivery", found[-1].end_s, ends_s))
            else:
                found += self._idle(request, found[-1].end_s, ends_s, first=waits)
        return [phase for phase in found if phase.lasts_s > 0]

    def _read_s(self, request: int, arrival_s: float, ends_s: float) -> float:
        """When its API server had read it, where that takes time; its end if that came before."""
        if "read_s" not in self.requests:
            return arrival_s
        read_s = float(self.requests["read_s"][request])
        return read_s if np.isfinite(read_s) else ends_s

    def _ends_s(self, request: int) -> float:
        """When its last token was delivered, or, if later, when it left; a run that was cut off ends all."""
        last_s, left_s = (float(self.requests[name][request]) for name in ("last_token_s", "end_s"))
        known = [each for each in (last_s, left_s) if np.isfinite(each)]
        return max(known) if known else float(self.result.manifest["end_of_run_s"])

    def _busy(self, request: int) -> list[Phase]:
        """The steps in which it was computed, in order of time."""
        steps: dict[tuple[int, int], Doing] = {}
        tokens = slice(self.offsets[request], self.offsets[request + 1])
        for replica, step in zip(
            self.tokens["replica"][tokens].tolist(), self.tokens["step"][tokens].tolist(), strict=True
        ):
            steps[replica, step] = "decode"
        for row in self.work_of(request).tolist():
            if self.work["kind"][row] == "prefill":
                steps[int(self.work["replica"][row]), int(self.work["step"][row])] = "prefill"
        found = [
            Phase(doing, float(self.step_start_s[replica][step]), float(self.step_end_s[replica][step]), 1)
            for (replica, step), doing in steps.items()
        ]
        return sorted(found, key=lambda phase: (phase.start_s, phase.end_s))

    def _idle(self, request: int, start_s: float, end_s: float, first: bool) -> list[Phase]:
        """What it did while no step computed it: its cache was moved, it was preempted, or steps went on without it."""
        inside: list[tuple[float, float]] = []
        if self.transfers:
            owner, began_s, done_s = (self.transfers[name] for name in ("request_id", "start_s", "end_s"))
            here = (owner == request) & (began_s < end_s) & (done_s > start_s)
            inside = list(zip(began_s[here].tolist(), done_s[here].tolist(), strict=True))
        other: Doing = (
            "queued" if first else "preempted" if self._preempted(request, start_s, end_s) else "paused"
        )
        found, at_s = [], start_s
        for a, b in sorted(inside):
            if a > at_s:
                found.append(Phase(other, at_s, a))
            if min(b, end_s) > max(a, at_s):
                found.append(Phase("transfer", max(a, at_s), min(b, end_s)))
                at_s = min(b, end_s)
        return [*found, Phase(other, at_s, end_s)] if end_s > at_s else found

    def _preempted(self, request: int, start_s: float, end_s: float) -> bool:
        rows = [row for row in self.work_of(request).tolist() if self.work["kind"][row] == "preempted"]
        times = self._starts(np.array(rows, np.int64))
        return bool(((times >= start_s - _CLOSE_S) & (times < end_s)).any())


def columns_of(table: "pa.Table") -> Columns:
    """Return the columns of a table as numpy arrays."""
    return {name: table[name].to_numpy() for name in table.column_names}
