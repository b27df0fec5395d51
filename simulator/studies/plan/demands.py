"""What a goal demands of how many requests, and by when: the form in which bounds can use it."""

import math
import re
from dataclasses import dataclass

import numpy as np

from simulator.arrays import Flags, Floats
from simulator.metrics._options import UserModel
from simulator.metrics._reader import penalty
from simulator.scenario.scenario import Scenario
from simulator.studies.plan.goals import ATTAINMENT, PER_REQUESTED, PER_SECOND, Goal

_LATE_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # idle latencies at which smooth goodput is turned into a demand


@dataclass(frozen=True)
class Demand:
    """So many requests must be through by their deadlines."""

    needed: int
    deadline_s: Floats  # after arrival, f64[n]
    decodes: bool  # to the last token; else: to the first
    alone_in_time: Flags  # whether each would be on an idle replica, bool[n]


def demands(
    goal: Goal,
    scenario: Scenario,
    prompt: Floats,
    output: Floats,
    span_s: float,
    ttft_s: Floats,
    step_s: Floats,
    alike: bool,
) -> list[Demand]:
    """Return what a goal demands, in one or several ways that all must hold; none where it says nothing.

    A goal on what readers get says nothing where readers differ (not ``alike``) or are not steady: the demands are
    deadlines d_n = S + V·n of last tokens.

    ``prompt`` and ``output`` are tokens, ``ttft_s`` and ``step_s`` the least time to first token and between
    tokens of each request, f64[n]; the requests arrive within ``span_s``.
    """
    window = scenario.metrics.window
    if scenario.run.trim_warmup or scenario.run.trim_cooldown or scenario.run.horizon_s is not None:
        return []
    if not isinstance(window, str):
        return []
    steady = alike and scenario.user.curve is None and not scenario.user.thinking_share
    if goal.metric in (ATTAINMENT, PER_REQUESTED, PER_SECOND) and not steady:
        return []
    if goal.at_least:
        if goal.metric == PER_SECOND and (window != "whole" or goal.bound < 0):
            return []  # what is lost after the last arrival is in no rate, or more time is less of a loss
        if goal.metric in (PER_REQUESTED, PER_SECOND):
            if may_leave(scenario):  # an answer that is not given keeps no reader waiting
                return []
            return _of_goodput(goal, scenario.user, prompt, output, span_s, ttft_s, step_s)
        needed = math.ceil(goal.bound * len(output) - 1e-9)
        if goal.metric == ATTAINMENT and scenario.user.origin == "arrival":
            return [_of_reader(needed, 0.0, scenario.user, output, ttft_s, step_s)]
        bounds = {key: getattr(scenario.slo, key) for key in ("ttft_s", "tpot_s", "e2e_s")}
        name = goal.metric.removeprefix("slo.attainment.")
        if name not in bounds and goal.metric != "slo.attainment_all":
            return []
        return [_kept(needed, {name: bounds[name]} if name in bounds else bounds, output, ttft_s, step_s)]
    match = re.fullmatch(r"latency\.(ttft_s|tpot_s|e2e_s)\.(p\d\d|max)", goal.metric)
    if match is None or may_leave(scenario):  # a dropped request does not count in a latency
        return []
    share = 1.0 if match[2] == "max" else int(match[2][1:]) / 100
    needed = math.floor(share * (len(output) - 1)) + 1
    return [_kept(needed, {match[1]: goal.bound}, output, ttft_s, step_s)]


def _of_reader(
    needed: int, late_s: float, user: UserModel, output: Floats, ttft_s: Floats, step_s: Floats
) -> Demand:
    """Return the demand that so many readers wait no longer than ``late_s`` in all."""
    start_s = user.first_token_allowance_s + late_s
    due_s = start_s + user.v_s_per_token * output
    e2e_s = ttft_s + (output - 1) * step_s
    return Demand(needed, due_s, True, (ttft_s <= start_s + user.v_s_per_token) & (e2e_s <= due_s))


def _of_goodput(
    goal: Goal, user: UserModel, prompt: Floats, output: Floats, span_s: float, ttft_s: Floats, step_s: Floats
) -> list[Demand]:
    """Return for some idle latencies how many readers at most may have more, or the goodput is missed."""
    if user.origin != "arrival":
        return []
    best = user.weight_output * float(output.sum()) + user.weight_input * float(prompt.sum())
    spare = best - goal.bound * (float(output.sum()) if goal.metric == PER_REQUESTED else span_s)
    found = []
    for late_s in _LATE_S:
        cost = float(penalty(np.array([late_s]), user)[0])
        needed = len(output) - math.floor(max(spare, 0.0) / cost) if cost > 0 else 0
        if needed > 0:
            found.append(_of_reader(needed, late_s, user, output, ttft_s, step_s))
    return found


def _kept(
    needed: int, bounds: dict[str, float | None], output: Floats, ttft_s: Floats, step_s: Floats
) -> Demand:
    """Return the demand of bounds that must all be kept."""
    alone = np.ones(len(output), dtype=np.bool_)
    first, pace, last = (bounds.get(key) for key in ("ttft_s", "tpot_s", "e2e_s"))
    deadline_s = np.full(len(output), np.inf)
    if first is not None:
        alone &= ttft_s <= first
    if pace is not None:
        alone &= (output < 2) | (step_s <= pace)
    if last is not None:
        alone &= ttft_s + (output - 1) * step_s <= last
        deadline_s[:] = last
    if first is not None and pace is not None:
        deadline_s = np.minimum(deadline_s, first + pace * (output - 1))
    decodes = bool(np.isfinite(deadline_s).all())
    if not decodes:
        deadline_s[:] = math.inf if first is None else first
    return Demand(needed, deadline_s, decodes, alone)


def may_leave(scenario: Scenario) -> bool:
    """Whether requests may go unserved and so drop out of a latency's distribution."""
    policy = scenario.policy
    return (
        policy.admission.name != "none"
        or policy.abandonment.name != "none"
        or scenario.workload.patience_s is not None
        or bool(scenario.cluster.faults.events)
        or scenario.cluster.faults.mtbf_s is not None
    )
