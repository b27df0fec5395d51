"""What a rate shall keep, or make largest: ``ttft_p99<=0.5``, ``smooth``, ``stable``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.errors import InputError
from simulator.metrics import Measure, Slo, UserModel
from simulator.results.vocabulary import MADE_BY_RUNS, known, measure_of, vocabulary
from simulator.studies.capacity.book import Bound
from simulator.studies.targets import conjuncts, read, there, unknown

SMOOTH = "capacity.smooth_goodput_tokens_per_s_and_gpu"
GROWTH = "capacity.backlog_growth"
STABLE_WITHIN = 0.005  # of the arrivals may be added to the backlog: a queue fed at most 0.5 % too much

MEASURES = {  # beside those of a summary
    SMOOTH: Measure(SMOOTH, "smooth goodput", "tokens/s and GPU", True, "smooth"),
    GROWTH: Measure(GROWTH, "backlog growth", "share of the arrivals", alias="stable"),
}


@dataclass(frozen=True)
class Target:
    """What a rate shall keep, or make largest."""

    text: str  # as it was given
    key: str  # of the summary, with dots
    bound: Bound | None  # None: the key's largest value is wanted

    @property
    def name(self) -> str:
        """Of the metric, in short."""
        name = self.text.partition("<=")[0].partition(">=")[0].strip()
        return MEASURES[GROWTH].label if self.key == GROWTH else name


def parse_target(text: str) -> Target:
    """Read ``stable``, ``KEY<=NUMBER``, ``KEY>=NUMBER`` or ``KEY`` (its largest value). InputError if it is none."""
    wanted = read(text, "--target", MEASURES.values())
    if wanted.sign is None:
        stable = Bound(STABLE_WITHIN, at_most=True) if wanted.key == GROWTH else None
        return Target(wanted.text, wanted.key, stable)
    return Target(wanted.text, wanted.key, Bound(wanted.bound, wanted.sign == "<="))


def parse_targets(texts: Sequence[str]) -> list[Target]:
    """Read targets that must all be kept: each text is one, or several joined by ``and``. InputError if one is none."""
    return [parse_target(each) for text in texts for each in conjuncts(text)]


def check_target(
    target: Target, user: UserModel, slo: Slo, classes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Refuse, before any time is spent, a key that no summary has, or that these options leave empty.

    ``classes`` are the bounds of each class of requests, as ``known`` takes them.
    """
    names = known(user, slo, classes)
    measure = measure_of(target.key) if target.key in names or target.key in vocabulary() else None
    if target.bound is None and measure is not None and not measure.higher_is_better:
        raise InputError(
            f"--target {target.text}: {measure.label} is better the lower it is; expected {target.text}<=NUMBER"
        )
    if target.key in (GROWTH, SMOOTH) or names.get(target.key) or target.key.startswith(MADE_BY_RUNS):
        return
    if target.key.startswith("slo.") and target.key in names:
        raise InputError(
            f"--target {target.text}: the scenario sets no such objective; expected one, such as"
            " --set slo.ttft_s=1.0"
        )
    more = ", or one of stable, smooth, token_slo, slo, ttft_p99, tbt_mean and the like"
    raise unknown(target.key, f"--target {target.text}", there(names), more)
