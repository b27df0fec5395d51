"""Every metric a second time, token by token, from what docs/metrics.md and docs/smooth_goodput.md say.

Slow, and without a line in common with ``simulator/metrics``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

ROUNDING_S = 1e-9  # what a deadline may be missed by
ROUNDING_TOKENS = 1e-9  # and what a benefit may be below 0


@dataclass(frozen=True)
class PlainRequest:
    """What happened to a request; times in seconds."""

    arrival_s: float
    prompt_tokens: int
    asked_tokens: int
    state: str  # completed, unfinished, or another one in which a request ends without its whole answer
    end_s: float
    delivered_s: Sequence[float]
    v_s: float
    thinking_tokens: int = 0
    allowance_s: float | None = None  # None: the user's
    ttft_slo_s: float | None = None  # None: of all
    tpot_slo_s: float | None = None

    @property
    def completed(self) -> bool:
        return self.state == "completed"


@dataclass(frozen=True)
class PlainUser:
    """Who reads, and what waiting costs."""

    alpha: float | None = None
    f: str = "linear"
    f_scale_s: float = 1.0
    origin: str = "arrival"
    allowance_s: float = 0.0
    unserved: str = "asks_again"
    weight_input: float = 0.0
    weight_output: float = 1.0
    weight_thinking: float | None = None
    steady: bool = True  # token after token, without thinking
    unit_tokens: float = 1.0
    skim_after_tokens: float = 0.0
    skim_speedup: float = 1.0
    fatigue: float = 0.0

    def paced(self, tokens: float) -> float:
        """Return how long it takes to read so many tokens one by one, in times of one."""
        q = tokens - (1 - 1 / self.skim_speedup) * max(0.0, tokens - self.skim_after_tokens)
        return q + self.fatigue / 1000 * q**2 / 2

    def place(self, token: int, thinking_tokens: int) -> float:
        """Return g(i)."""
        read, unit = max(1, token - thinking_tokens), self.unit_tokens
        return self.paced(1 if unit == math.inf else unit * ((read - 1) // unit) + 1)

    def penalty_tokens(self, idle_s: float, v_s: float) -> float:
        """Return alpha f(l)."""
        scale = self.f_scale_s
        f = {
            "linear": lambda: idle_s,
            "quadratic": lambda: idle_s**2,
            "exponential": lambda: math.exp(idle_s / scale) - 1,
            "step": lambda: float(idle_s > scale + ROUNDING_S),
            "hinge": lambda: max(0.0, idle_s - scale),
        }[self.f]
        return (1 / v_s if self.alpha is None else self.alpha) * f()


def clock_s(request: PlainRequest, user: PlainUser) -> float:
    """Return from when deadlines count."""
    if user.origin == "first_token":
        read_s = request.delivered_s[request.thinking_tokens :]
        return read_s[0] if read_s else request.arrival_s
    return request.arrival_s + (user.allowance_s if request.allowance_s is None else request.allowance_s)


def slack_s(request: PlainRequest, user: PlainUser) -> list[float]:
    """Return how long before its deadline each token came."""
    clock, thinking = clock_s(request, user), request.thinking_tokens
    return [clock + request.v_s * user.place(i, thinking) - t for i, t in enumerate(request.delivered_s, 1)]


def idle_s(request: PlainRequest, user: PlainUser, window_end_s: float, now_s: float) -> float:
    """Return how long a reader has been behind at most, as it stands at ``now_s``."""
    if request.arrival_s > now_s:
        return 0.0
    there, thinking = [t for t in request.delivered_s if t <= now_s], request.thinking_tokens
    by_now = replace(request, delivered_s=there)
    clock, behind = clock_s(by_now, user), [0.0, *(-each for each in slack_s(by_now, user))]
    ended = request.end_s <= now_s
    if request.completed and ended and there:
        return max(behind)
    until_s = min(request.end_s, now_s)
    if user.unserved == "wait_to_end":
        until_s = max(until_s, min(now_s, window_end_s))
    waits = max(*behind, until_s - (clock + request.v_s * user.place(len(there) + 1, thinking)))
    if ended and not request.completed and request.state != "unfinished" and user.unserved == "asks_again":
        asked, had = (max(each - thinking, 0) for each in (request.asked_tokens, len(there)))
        waits += (
            request.v_s * (user.paced(asked) - user.paced(had)) if request.asked_tokens > len(there) else 0
        )
    return waits


def last_idle_s(request: PlainRequest, user: PlainUser, window_end_s: float) -> float:
    """Return how long a reader has been behind when all is over."""
    return idle_s(request, user, window_end_s, max(request.end_s, window_end_s))


def worth_tokens(request: PlainRequest, user: PlainUser, window_end_s: float, now_s: float) -> float:
    """Return the benefit of a request as it stands at ``now_s``."""
    there = sum(t <= now_s for t in request.delivered_s)
    waits_s = idle_s(request, user, window_end_s, now_s)
    prompt = request.prompt_tokens if there else 0
    thinking = min(there, request.thinking_tokens)
    thought = user.weight_output if user.weight_thinking is None else user.weight_thinking
    answer = user.weight_output * (there - thinking) + thought * thinking
    return user.weight_input * prompt + answer - user.penalty_tokens(waits_s, request.v_s)


def qoe(request: PlainRequest, user: PlainUser, window_end_s: float) -> float | None:
    """Return 1 less the area between what should have been read and what was, over that under the former (Andes)."""
    if not user.steady:
        return None
    n, v, asked = len(request.delivered_s), request.v_s, request.asked_tokens
    if request.completed:
        asked = n
    if n == 0 and asked > 0:
        return 0.0
    clock, taken = clock_s(request, user), list[float]()  # taken: after the clock's start
    for t in request.delivered_s:
        taken.append(max(t - clock, (taken[-1] if taken else 0.0) + v))
    until = taken[-1] if taken else 0.0
    if not request.completed:
        left = request.end_s - clock
        if user.unserved == "wait_to_end":
            left = max(left, window_end_s - clock)
        elif user.unserved == "asks_again" and request.state != "unfinished" and asked > n:
            left = max(left, v * asked)
        until = max(until, left)
    actual = sum(until - t for t in taken)
    expected = sum(until - v * i for i in range(1, asked + 1) if v * i <= until)
    return min(max(actual / expected, 0.0), 1.0) if expected > 0 else 1.0


def fluidity(request: PlainRequest, user: PlainUser, window_end_s: float) -> float | None:
    """Return the share of deadlines met where they start anew after each that was missed (Etalon)."""
    if not user.steady:
        return None
    v, met, missed = request.v_s, 0, 0
    due = clock_s(request, user)
    for t in request.delivered_s:
        due += v
        if t > due + ROUNDING_S:
            missed += 1 + math.floor((t - due + ROUNDING_S) / v)
            due = t
        else:
            met += 1
    if not request.completed:
        until = max(request.end_s, window_end_s) if user.unserved == "wait_to_end" else request.end_s
        missing = request.asked_tokens - len(request.delivered_s)
        if until > due + v + ROUNDING_S:
            missed += 1 + math.floor((until - due - v + ROUNDING_S) / v)
            missing -= 1
        if user.unserved == "asks_again" and request.state != "unfinished":
            missed += max(missing, 0)
        if not request.delivered_s and request.asked_tokens:
            return 0.0
    return met / (met + missed) if met + missed else None


def summary(
    requests: Sequence[PlainRequest],
    user: PlainUser,
    bounds: dict[str, float],
    window: tuple[float, float],
) -> dict[str, float | None]:
    """Return numbers of a run under their keys in ``summary.json``.

    Rates count what falls into the window, of all requests; what is said of requests is of those that arrive in it.
    """
    start, end = window
    here = [each for each in requests if start <= each.arrival_s <= end]
    found: dict[str, float | None] = {}

    def spread(name: str, values: Sequence[float | None]) -> None:
        known = sorted(value for value in values if value is not None)
        found[f"{name}.count"] = len(known)
        found[f"{name}.mean"] = sum(known) / len(known) if known else None
        for percent in (50, 90, 95, 99):
            found[f"{name}.p{percent}"] = _quantile(known, percent / 100)
        found[f"{name}.max"] = known[-1] if known else None

    def per_s(amount: float) -> float | None:
        return amount / (end - start) if end > start else None

    def share(count: int) -> float | None:
        return count / len(here) if here else None

    gaps = {id(each): _gaps(each) for each in requests}
    spread("latency.ttft_s", [each.delivered_s[0] - each.arrival_s for each in here if each.delivered_s])
    spread("latency.tbt_s", [gap for each in here for gap in gaps[id(each)]])
    spread("latency.tbt_max_per_request_s", [max(gaps[id(each)]) for each in here if gaps[id(each)]])
    spread("latency.tbt_p99_per_request_s", [_quantile(sorted(gaps[id(each)]), 0.99) for each in here])
    spread("latency.tpot_s", [_tpot_s(each) for each in here])
    spread(
        "latency.e2e_s",
        [each.delivered_s[-1] - each.arrival_s for each in here if each.completed and each.delivered_s],
    )

    inside = {id(each): sum(start <= t <= end for t in each.delivered_s) for each in requests}
    ended = [each for each in requests if each.completed and start <= each.end_s <= end]
    began = [each for each in requests if each.delivered_s and start <= each.delivered_s[0] <= end]
    found["throughput.requests_per_s"] = per_s(len(ended))
    found["throughput.output_tokens_per_s"] = per_s(sum(inside.values()))
    found["throughput.total_tokens_per_s"] = per_s(
        sum(inside.values()) + sum(each.prompt_tokens for each in began)
    )

    spread("idle_latency.idle_latency_s", [last_idle_s(each, user, end) for each in here])
    worth = [worth_tokens(each, user, end, max(each.end_s, end)) for each in here]
    asked = sum(each.asked_tokens for each in here)
    spread("smooth_goodput.benefit_tokens_per_request", worth)
    found["smooth_goodput.per_requested_token"] = sum(worth) / asked if asked else None
    found["smooth_goodput.share_of_arrived_with_negative_benefit"] = share(
        sum(each < -ROUNDING_TOKENS for each in worth)
    )
    before = math.nextafter(start, -math.inf)
    gained = sum(
        worth_tokens(each, user, end, end) - worth_tokens(each, user, end, before) for each in requests
    )
    found["smooth_goodput.benefit_tokens"] = gained
    found["smooth_goodput.smooth_goodput_tokens_per_s"] = per_s(gained)

    def on_time(each: PlainRequest) -> bool:
        return each.completed and last_idle_s(each, user, end) <= ROUNDING_S

    slack = [(each, slack_s(each, user)) for each in here]
    spread("token_slo.deadline_slack_s", [some for _, each in slack for some in each])
    in_time = sum(some >= -ROUNDING_S for _, each in slack for some in each)
    had = sum(len(each) for _, each in slack)
    found["token_slo.tokens_on_time_share_of_delivered"] = in_time / had if had else None
    found["token_slo.attainment"] = share(sum(map(on_time, here)))
    found["token_slo.goodput_tokens_per_s"] = per_s(
        sum(inside[id(each)] for each in requests if on_time(each))
    )
    found["token_slo.goodput_requests_per_s"] = per_s(sum(map(on_time, ended)))

    def keeps(each: PlainRequest, name: str, bound: float) -> bool:
        values = {
            "ttft_s": (each.delivered_s[0] - each.arrival_s if each.delivered_s else None, each.ttft_slo_s),
            "tpot_s": (_tpot_s(each), each.tpot_slo_s),
            "tail_tbt_s": (_quantile(sorted(gaps[id(each)]), 0.99), None),
            "e2e_s": (each.delivered_s[-1] - each.arrival_s if each.delivered_s else None, None),
        }
        value, own = values[name]
        return each.completed and not (value or 0.0) > (bound if own is None else own) + ROUNDING_S

    def kept(each: PlainRequest) -> bool:
        return all(keeps(each, name, bound) for name, bound in bounds.items())

    for name, bound in bounds.items():
        found[f"slo.attainment.{name}"] = share(sum(keeps(each, name, bound) for each in here))

    found["slo.attainment_all"] = share(sum(map(kept, here)))
    found["slo.goodput_requests_per_s"] = per_s(sum(map(kept, ended)))
    found["slo.goodput_tokens_per_s"] = per_s(sum(inside[id(each)] for each in requests if kept(each)))
    spread("qoe.qoe", [qoe(each, user, end) for each in here])
    spread("fluidity.fluidity_index", [fluidity(each, user, end) for each in here])
    return found


def _gaps(request: PlainRequest) -> list[float]:
    return [later - earlier for earlier, later in pairwise(request.delivered_s)]


def _tpot_s(request: PlainRequest) -> float | None:
    times = request.delivered_s
    return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None


def _quantile(ordered: Sequence[float], at: float) -> float | None:
    if not ordered:
        return None
    place = at * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
