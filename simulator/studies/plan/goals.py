"""What a plan has to keep: goals on a run's numbers, and the proof that the beginning of a run misses them.

A run that is stopped early is, to the bit, the beginning of the whole run. So a candidate is refused on a part of
the traffic only where no continuation can repair it: those that have missed already are more than the goal
allows in all of the traffic. Nothing is ever accepted on a part.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.arrays import Flags, Floats
from simulator.errors import InputError
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._places import thinking_tokens
from simulator.metrics._reader import alpha_tokens, idle_latency_s, penalty
from simulator.replica.idle_cost import ON_TIME_WITHIN_S
from simulator.replica.request import RequestState
from simulator.studies.targets import conjuncts, read, unknown

if TYPE_CHECKING:
    from simulator.workload import Workload

PER_REQUESTED = "smooth_goodput.per_requested_token"
PER_SECOND = "smooth_goodput.smooth_goodput_tokens_per_s"
ATTAINMENT = "token_slo.attainment"
TTFT_P99 = "latency.ttft_s.p99"
ELECTRICITY_USD = "energy.usd_per_hour"
ELECTRICITY = ("energy.watts_per_gpu", ELECTRICITY_USD, "energy.joules_per_output_token")


@dataclass(frozen=True)
class Goal:
    """A bound on one number of a run's summary, named as in ``sweep.csv``."""

    metric: str
    at_least: bool  # else: at most
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.at_least else '<='} {self.bound:g}"

    def margin(self, value: float | None) -> float:
        """Return by which share of the bound a value keeps it (>= 0) or misses it (< 0); -inf for None.

        With a bound of 0 it is the distance itself.
        """
        if value is None or math.isnan(value):
            return -math.inf
        ahead = value - self.bound if self.at_least else self.bound - value
        return ahead / abs(self.bound) if self.bound else ahead


def check_energy(goals: Sequence[Goal], usd_per_kwh: float | None, where: str) -> None:
    """Raise InputError for a goal on energy where no run says any."""
    asked = [goal.metric for goal in goals if goal.metric.startswith("energy.")]
    if asked and usd_per_kwh is None:
        raise InputError(
            f"{where}: target: {asked[0]} is there with hardware.usd_per_kwh alone; expected that price under [set]"
            " (0: none)"
        )


def parse_goals(given: Any, where: str, known: Sequence[str]) -> list[Goal]:
    """Read ``["latency.ttft_s.p99 <= 1.0", ...]``; InputError for another form or a name not in ``known``."""
    where = f"{where}: target"
    given = [given] if isinstance(given, str) else given
    if not isinstance(given, list) or not given:
        raise InputError(
            f'{where}: expected a list of bounds such as ["{ATTAINMENT} >= 0.9", "{TTFT_P99} <= 1.0"],'
            f" got {given!r}"
        )
    goals = []
    texts = [each for text in given for each in (conjuncts(text) if isinstance(text, str) else [text])]
    for text in texts:
        wanted = read(text, where)
        if wanted.sign is None:
            raise InputError(f'{where} {text}: expected a bound such as "{TTFT_P99} <= 1.0"')
        if wanted.key not in known:
            raise unknown(wanted.key, f"{where} {wanted.text}", known, "; slo.* needs bounds under [slo]")
        goals.append(Goal(wanted.key, wanted.sign == ">=", wanted.bound))
    return goals


def margin(goals: Sequence[Goal], numbers: Mapping[str, Any]) -> float:
    """Return the margin of the goal that is missed most, or kept least."""
    return min(goal.margin(numbers.get(goal.metric)) for goal in goals)


@dataclass(frozen=True)
class Whole:
    """What a part is a part of: the sums of all the traffic, over ``n`` requests."""

    n: int
    prompt_tokens: int
    output_tokens: int
    span_s: float  # first to last arrival

    @classmethod
    def of(cls, workload: "Workload") -> "Whole":
        """Add up a workload."""
        arrival_s = workload.arrival_s
        span_s = float(arrival_s[-1] - arrival_s[0])
        return cls(
            len(workload), int(workload.prompt_tokens.sum()), int(workload.output_tokens.sum()), span_s
        )


def hopeless(goal: Goal, part: RequestLog, whole: Whole, user: UserModel, slo: Slo) -> bool:
    """Return whether the beginning of a run proves that the whole of it misses a goal.

    ``part`` holds the requests that arrived up to a horizon, and their tokens up to there. False where
    nothing can be proved, also for metrics that this function does not know.
    """
    family, _, rest = goal.metric.partition(".")
    idle_s = _idle_so_far_s(part, user)
    if goal.at_least:
        if goal.metric == ATTAINMENT:
            return _too_few(goal, _gone(part) | (idle_s > ON_TIME_WITHIN_S), whole)
        if family == "slo" and rest.startswith("attainment"):
            missed = _missed(part, slo)
            bound = rest.removeprefix("attainment").strip(".")
            chosen = list(missed.values()) if bound == "" or rest == "attainment_all" else [missed.get(bound)]
            known = [flags for flags in chosen if flags is not None]
            return bool(known) and _too_few(goal, _gone(part) | np.logical_or.reduce(known), whole)
        if goal.metric in (PER_REQUESTED, PER_SECOND):
            best = _best_benefit(part, whole, user, idle_s)
            if goal.metric == PER_REQUESTED:
                return best < goal.bound * whole.output_tokens
            return goal.bound > 0 and best < goal.bound * whole.span_s  # the window is at least the arrivals'
        return False
    name, _, statistic = rest.rpartition(".")
    if family == "idle_latency" and name == "idle_latency_s":
        return _too_large(goal, statistic, idle_s, whole.n)
    if family == "latency":
        values, most = _final_values(part, whole, name)
        return _too_large(goal, statistic, values, most)
    return False


def _gone(part: RequestLog) -> Flags:
    """Who left without being completed, for good."""
    gone: Flags = ~part.completed & (part.state != RequestState.UNFINISHED)
    return gone


def _idle_so_far_s(part: RequestLog, user: UserModel) -> Floats:
    """Idle latency up to the horizon, f64[n]: later it can only be more."""
    idle_s = idle_latency_s(part, user)
    if user.origin == "first_token":  # whose clock has not begun
        idle_s = np.where((part.token_counts <= thinking_tokens(part, user)) & ~_gone(part), 0.0, idle_s)
    return idle_s


def _missed(part: RequestLog, slo: Slo) -> dict[str, Flags]:
    """Who has missed each bound that is set, for good."""
    waited_s = part.end_s - part.arrival_s
    done, none_yet = part.completed, part.token_counts == 0
    missed: dict[str, Flags] = {}
    with np.errstate(invalid="ignore"):
        if slo.ttft_s is not None:
            missed["ttft_s"] = np.where(none_yet, waited_s, part.ttft_s) > slo.ttft_s
        if slo.tpot_s is not None:
            missed["tpot_s"] = done & (part.tpot_s > slo.tpot_s)
        if slo.tail_tbt_s is not None:
            tail_s = part.tbt_p99_s if slo.tail_tbt == "p99" else part.tbt_max_s
            missed["tail_tbt_s"] = done & (tail_s > slo.tail_tbt_s)
        if slo.e2e_s is not None:
            missed["e2e_s"] = np.where(done, part.e2e_s, waited_s) > slo.e2e_s
    return missed


def _too_few(goal: Goal, missed: Flags, whole: Whole) -> bool:
    return (whole.n - int(missed.sum())) / whole.n < goal.bound


def _best_benefit(part: RequestLog, whole: Whole, user: UserModel, idle_s: Floats) -> float:
    """Benefit of all requests if from the horizon on no reader waits any more and everything is delivered."""
    gone = _gone(part)
    tokens = float(np.where(gone, part.token_counts, part.output_tokens).sum())
    tokens += whole.output_tokens - int(part.output_tokens.sum())
    return (
        user.weight_output * tokens
        + user.weight_input * whole.prompt_tokens
        - float(penalty(idle_s, user, alpha_tokens(part, user)).sum())
    )


def _final_values(part: RequestLog, whole: Whole, name: str) -> tuple[Floats, int]:
    """Values that stay in a distribution of the whole run, and how many values that can have at most."""
    if name == "ttft_s":
        return part.ttft_s[part.token_counts > 0], whole.n
    if name == "tbt_s":
        return part.gaps_s, max(len(part.gaps_s), whole.output_tokens - whole.n)
    per_request = {
        "tbt_p99_per_request_s": "tbt_p99_s",
        "tbt_max_per_request_s": "tbt_max_s",
        "tpot_s": "tpot_s",
        "e2e_s": "e2e_s",
    }
    if name not in per_request:
        return np.empty(0), whole.n
    values: Floats = getattr(part, per_request[name])[part.completed]
    return values[~np.isnan(values)], whole.n


def _too_large(goal: Goal, statistic: str, values: Floats, most: int) -> bool:
    """Whether values >= 0, of at most ``most`` in the end, put a statistic above its bound already."""
    above = int(np.count_nonzero(values > goal.bound))
    if statistic == "max":
        return above > 0
    if statistic == "mean":
        return float(values.sum()) > goal.bound * most
    if re.fullmatch(r"p\d\d", statistic):
        # The percentile lies at or above the value of this rank, counted from the largest.
        return above >= most - math.floor(int(statistic[1:]) / 100 * (most - 1))
    return False
