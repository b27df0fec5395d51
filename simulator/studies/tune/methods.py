"""How the next trials are chosen: by chance, by TPE, by annealing that avoids failures and then TPE.

A method is asked for some trials at once, which know nothing of one another, and told how all of them went. What it
asks for follows from its seed and what it was told alone.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from simulator.errors import not_installed
from simulator.rng import draws, stream
from simulator.studies.tune.annealing import Annealing
from simulator.studies.tune.space import Knob, SearchPlace, SearchSpace
from simulator.studies.tune.trials import TunedTrial

RANDOM, TPE, TBA_TPE, MULTIVARIATE = "random", "tpe", "tba-tpe", "tpe-multivariate"
METHODS = (TBA_TPE, TPE, MULTIVARIATE, RANDOM)  # the first where nothing is said
STARTUP = 5  # trials of TPE by chance before it learns: SLO-Guard's baseline, half of Optuna's default


class SearchMethod(Protocol):
    """What every method does."""

    def ask(self, count: int) -> list[SearchPlace]:
        """Return what to try next."""
        ...

    def tell(self, trials: Sequence[TunedTrial]) -> None:
        """Take note of how those that were asked for last went, in their order."""
        ...


def make(name: str, space: SearchSpace, budget: int, seed: int) -> SearchMethod:
    """Return a method for so many trials; raises InputError where Optuna is needed and not installed."""
    if name == RANDOM:
        return ByChance(space, seed)
    if name == TBA_TPE:
        return TbaTpe(space, budget, seed)
    return Tpe(space, seed, multivariate=name == MULTIVARIATE)


class ByChance:
    """Every trial anywhere in the space."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space, self._draw = space, draws(seed, "tune.random")

    def ask(self, count: int) -> list[SearchPlace]:
        """Return places by chance."""
        return [self._space.sample(self._draw) for _ in range(count)]

    def tell(self, trials: Sequence[TunedTrial]) -> None:
        """Learn nothing."""


class Tpe:
    """Optuna's tree-structured Parzen estimator with the targets as constraint; what fails is worth -inf.

    Each setting is drawn for itself, as by Optuna when SLO-Guard was made; ``multivariate``, Optuna's default from
    version 5 on, draws all of them together.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        startup: int = STARTUP,
        known: Sequence[TunedTrial] = (),
        *,
        multivariate: bool = False,
    ) -> None:
        """``known`` are trials of others that it learns from at once. Raises InputError without Optuna."""
        try:
            import optuna
        except ImportError as error:
            raise not_installed(f"--method {TPE}, {MULTIVARIATE} and {TBA_TPE}: Optuna", "tune") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = {knob.key: _distribution(knob) for knob in space.knobs}
        own = int(stream(seed, "tune.tpe").integers(2**32))
        sampler = optuna.samplers.TPESampler(seed=own, n_startup_trials=startup, multivariate=multivariate)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: list[optuna.Trial] = []
        for trial in known:
            self._study.add_trial(
                optuna.trial.create_trial(
                    params={key: trial.place[key] for key in self._distributions},
                    distributions=self._distributions,
                    value=_worth(trial),
                    constraints={"target": trial.violation},
                )
            )

    def ask(self, count: int) -> list[SearchPlace]:
        """Return what is most likely among the good trials against the others; of several, no two alike."""
        self._asked = [self._study.ask(self._distributions) for _ in range(count)]
        return [dict(trial.params) for trial in self._asked]

    def tell(self, trials: Sequence[TunedTrial]) -> None:
        """Learn."""
        for asked, trial in zip(self._asked, trials, strict=True):
            asked.set_constraint("target", trial.violation)
            self._study.tell(asked, _worth(trial))


class TbaTpe:
    """Thermal budget annealing until enough good and bad is known, then TPE that begins with all of it.

    Handed over after at least max(3, B/5) of B trials, if max(2, B/6) keep all and max(1, B/10) do not, and in any case
    after 40 % of them (SLO-Guard, Lysenstoen, 2026).
    """

    def __init__(self, space: SearchSpace, budget: int, seed: int) -> None:
        self._space, self._budget, self._seed = space, budget, seed
        self._annealing = Annealing(space, draws(seed, "tune.annealing"), 0.4 * budget)
        Tpe(space, seed)  # raises at once, not after the first trials
        self._tpe: Tpe | None = None
        self._told: list[TunedTrial] = []

    @property
    def _enough(self) -> bool:
        done, good = len(self._told), sum(trial.feasible for trial in self._told)
        budget = self._budget
        known = good >= max(2, budget / 6) and done - good >= max(1, budget / 10)
        return done >= 0.4 * budget or (done >= max(3, budget / 5) and known)

    def ask(self, count: int) -> list[SearchPlace]:
        """Return what its phase wants to try."""
        if self._tpe is None and self._told and self._enough:
            self._tpe = Tpe(self._space, self._seed, 0, self._told)
        return self._annealing.ask(count) if self._tpe is None else self._tpe.ask(count)

    def tell(self, trials: Sequence[TunedTrial]) -> None:
        """Learn."""
        self._told += trials
        (self._annealing if self._tpe is None else self._tpe).tell(trials)


def _distribution(knob: Knob) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return (
        CategoricalDistribution(tuple(range(len(knob.choices)))) if knob.choices else FloatDistribution(0, 1)
    )


def _worth(trial: TunedTrial) -> float:
    return float("-inf") if trial.score is None else trial.score
