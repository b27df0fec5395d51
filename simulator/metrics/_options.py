"""Who is waiting, and what they were promised: the user model and the service level objectives."""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, NamedTuple, get_args

from simulator.errors import InputError
from simulator.metrics._presets import DEFAULT, PRESETS, STEADY, beside_preset, of_preset
from simulator.replica.idle_cost import IdleCost
from simulator.replica.idle_cost import Origin as Origin
from simulator.replica.idle_cost import Penalty as Penalty
from simulator.replica.reading import BY_TOKEN, ReadingCurve
from simulator.workload.checks import LEAST_V_S

Unit = Literal["token", "sentence", "paragraph", "answer"]
Unserved = Literal["asks_again", "wait_ends", "wait_to_end"]
# 100 tokens are about 75 words or a paragraph, 30 tokens one or two sentences: the rule of thumb of OpenAI's help pages
UNIT_TOKENS = {"token": 1.0, "sentence": 20.0, "paragraph": 100.0, "answer": inf}
TailTbt = Literal["p99", "max"]

_LARGEST = 1e12  # of seconds and weights: their products and sums over all tokens stay numbers
_LARGEST_UNIT, _LARGEST_FACTOR = 1_000_000_000, 1e3
_OF_PRESET: Any = None  # the default of every field that is the preset's to say; no instance has it


class Reading(NamedTuple):
    """When a reader's tokens are due: the part of the user model on which waiting depends."""

    v_s_per_token: float
    origin: Origin
    first_token_allowance_s: float
    unserved: Unserved = "asks_again"
    curve: ReadingCurve | None = None  # None: token by token at a steady speed
    thinking_share: float = 0.0

    @property
    def reading(self) -> "Reading":
        """Itself, as ``UserModel.reading`` is one."""
        return self


@dataclass(frozen=True)
class UserModel:
    """A reader, and what its waiting costs (arXiv 2410.14257v2, Eq. 5, 9 and 10).

    Token ``i`` of a request is due ``d_i = S + V·g(i)`` after the request's arrival (``origin="arrival"``), or
    ``d_i = V·g(i)`` after its first delivered token that is read (``origin="first_token"``). A steady reader, the
    default, has g(i) = i: Eq. 5, whose V is in seconds a token here. Readers who read by units, skim, tire, or do not
    read an answer's thinking have the g of ``simulator.replica.reading.ReadingCurve``. The user idle latency
    is ``l = max(0, max_i(t_i − d_i))`` (Eq. 9), and a request is worth
    ``weight_input·prompt tokens + weight_output·delivered tokens − alpha·f(l)`` (Eq. 10; the weights are ours, and
    a thinking token has ``weight_thinking``).

    ``preset`` names a model of ``simulator.metrics._presets``, which says every field that is not given beside it:
    ``UserModel(preset="paper_v2", alpha=5.0)``.

    ``V = 0`` is an agent that reads instantly: every token is due at once, and ``alpha`` must be given. Requests
    whose readers have a V of their own (``RequestLog.v_s_per_token``) go by that, also in the default of alpha.

    ``unserved`` says what becomes of the wait of a reader whose request ended without its whole answer (rejected,
    dropped, failed, given up): ``asks_again`` adds V for each token that it did not get to the wait up to then, as
    it has to read those all the same; ``wait_ends`` adds nothing; ``wait_to_end`` has it wait to the end of the
    measured window. Who is unfinished at the end of the run has waited up to there, with all three.

    Raises InputError, naming the field as it is written in a scenario, for a value that is not allowed.
    """

    v_s_per_token: float = _OF_PRESET  # V: the reader takes one token every V seconds
    alpha: float | None = _OF_PRESET  # tokens per unit of f; None: 1/V, the tokens read in a second
    f: Penalty = _OF_PRESET  # l | l² | exp(l/c) − 1 | 1[l > c] | max(0, l − c), with l and c in seconds
    f_scale_s: float = _OF_PRESET  # c of exponential, step and hinge
    origin: Origin = _OF_PRESET
    first_token_allowance_s: float = _OF_PRESET  # S, only with origin "arrival"
    unserved: Unserved = _OF_PRESET  # what the tokens that a reader never gets cost
    weight_input: float = _OF_PRESET
    weight_output: float = _OF_PRESET
    reads: Unit | int = _OF_PRESET  # what is read only when it is whole, or how many tokens that are
    fatigue: float = _OF_PRESET  # share by which reading a token takes longer each 1,000 tokens
    skim_after_tokens: int = _OF_PRESET  # beyond which it reads
    skim_speedup: float = _OF_PRESET  # times as fast, >= 1
    thinking_share: float = _OF_PRESET  # of an answer, which is not read, where the traffic does not say
    weight_thinking: float | None = _OF_PRESET  # worth of a thinking token; None: weight_output
    preset: str = DEFAULT

    def __post_init__(self) -> None:
        """Take from the preset what was not given, and check every field; see the class for what is raised."""
        _require_choice("user.preset", self.preset, tuple(PRESETS))
        for name, value in of_preset(self.preset).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        _require_number("user.v_s_per_token", self.v_s_per_token)
        if 0 < self.v_s_per_token < LEAST_V_S:
            raise InputError(
                f"user.v_s_per_token must be 0 or at least {LEAST_V_S:g} s; got {self.v_s_per_token!r}."
            )
        _require_number("user.f_scale_s", self.f_scale_s, zero_allowed=False)
        _require_number("user.first_token_allowance_s", self.first_token_allowance_s)
        _require_number("user.weight_input", self.weight_input)
        _require_number("user.weight_output", self.weight_output)
        self._check_reading()
        _require_choice("user.f", self.f, get_args(Penalty))
        _require_choice("user.origin", self.origin, get_args(Origin))
        _require_choice("user.unserved", self.unserved, get_args(Unserved))
        if self.alpha is not None:
            _require_number("user.alpha", self.alpha)
        elif self.v_s_per_token == 0:
            raise InputError(
                "user.alpha must be given when user.v_s_per_token is 0: its default, 1/V tokens per second "
                "of idle latency, has no value there."
            )
        if self.origin == "first_token" and self.first_token_allowance_s > 0:
            raise InputError(
                "user.first_token_allowance_s must be 0 with user.origin = 'first_token', where the reader's "
                f"clock starts at the first token itself; got {self.first_token_allowance_s}."
            )

    def _check_reading(self) -> None:
        reads = self.reads
        if reads not in UNIT_TOKENS and not (type(reads) is int and 1 <= reads <= _LARGEST_UNIT):
            raise InputError(
                f"user.reads must be one of {', '.join(UNIT_TOKENS)}, or a whole number of tokens from 1 to"
                f" {_LARGEST_UNIT:,}; got {reads!r}."
            )
        _require_number("user.fatigue", self.fatigue, most=_LARGEST_FACTOR)
        _require_number("user.skim_after_tokens", self.skim_after_tokens)
        if not isinstance(self.skim_after_tokens, int):
            raise InputError(
                f"user.skim_after_tokens must be a whole number; got {self.skim_after_tokens!r}."
            )
        _require_number("user.skim_speedup", self.skim_speedup, least=1.0, most=_LARGEST_FACTOR)
        _require_number("user.thinking_share", self.thinking_share, most=1.0)
        if self.weight_thinking is not None:
            _require_number("user.weight_thinking", self.weight_thinking)
            if self.weight_thinking > self.weight_output:
                raise InputError(
                    f"user.weight_thinking must be at most user.weight_output = {self.weight_output:g}; got"
                    f" {self.weight_thinking!r}."
                )

    @property
    def reading(self) -> Reading:
        """When tokens are due."""
        return Reading(
            self.v_s_per_token,
            self.origin,
            self.first_token_allowance_s,
            self.unserved,
            self.curve,
            self.thinking_share,
        )

    @property
    def curve(self) -> ReadingCurve | None:
        """How the reader goes through an answer; None: token by token at a steady speed."""
        unit = UNIT_TOKENS[self.reads] if isinstance(self.reads, str) else self.reads
        curve = ReadingCurve(
            float(unit), float(self.skim_after_tokens), float(self.skim_speedup), float(self.fatigue)
        )
        steady = curve == BY_TOKEN._replace(skim_after_tokens=curve.skim_after_tokens)
        return None if steady else curve

    @property
    def idle_cost(self) -> IdleCost:
        """What idle latency costs, as policies may be told."""
        return IdleCost(self.alpha, self.f, self.f_scale_s, self.origin)

    @property
    def described(self) -> str:
        """The preset, and what was given beside it: ``paper_v2, alpha 5``."""
        given = beside_preset(vars(self))
        return ", ".join([self.preset, *(f"{name} {_said(given[name])}" for name in STEADY if name in given)])

    @property
    def alpha_tokens(self) -> float:
        """The weight of the penalty in tokens per unit of ``f``: ``alpha``, or its default ``1/V``."""
        return 1.0 / self.v_s_per_token if self.alpha is None else self.alpha


Reader = UserModel | Reading  # either says when tokens are due, by ``reading``


@dataclass(frozen=True)
class Slo:
    """The classic bounds a request must keep; ``None`` leaves a bound out. All in seconds.

    Raises InputError, naming the field as it is written in a scenario, for a value that is not allowed.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    tail_tbt_s: float | None = None
    e2e_s: float | None = None
    tail_tbt: TailTbt = "p99"  # which gap between tokens of a request the tail bound looks at

    def __post_init__(self) -> None:
        """Check every field; see the class for what is raised."""
        for name in ("ttft_s", "tpot_s", "tail_tbt_s", "e2e_s"):
            bound_s = getattr(self, name)
            if bound_s is not None:
                _require_number(f"slo.{name}", bound_s, zero_allowed=False)
        _require_choice("slo.tail_tbt", self.tail_tbt, get_args(TailTbt))


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _require_number(
    field: str, value: float, *, zero_allowed: bool = True, least: float = 0.0, most: float = _LARGEST
) -> None:
    wanted = f">= {least:g}" if zero_allowed else "> 0"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most or (value == 0 and not zero_allowed):
        raise InputError(f"{field} must be a finite number {wanted} and at most {most:g}; got {value!r}.")


def _require_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{field} must be one of {', '.join(choices)}; got {value!r}.")
