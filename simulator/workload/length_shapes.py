"""Lengths as people say them: a mean and how much they vary, quantiles, or a range."""

import math
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.workload.checks import LARGEST_TOKENS
from simulator.workload.ranges import Positive, Tokens

_LEVELS = {f"p{level}": level / 100 for level in (1, 5, 10, 25, 50, 75, 90, 95, 99)}
WAYS = "{ mean = 1500, cv = 0.8 }, { p50 = 200, p95 = 900 } or { mean = 512, range_ratio = 0.5 }"


class LengthShape(BaseModel):
    """A distribution of tokens, from 1 on.

    * ``mean`` and ``cv`` (standard deviation over mean): lognormal, or ``shape = "gamma"``.
    * two quantiles and more (``p50``, ``p95``, ...): the lognormal through two; through more, straight lines between
      them of the logarithm of tokens over the normal quantile, and on beyond the last ones.
    * ``mean`` and ``range_ratio`` r: all whole numbers from mean·(1 − r) to mean·(1 + r) alike, as vLLM's
      ``bench serve --random-range-ratio`` draws them.

    ``least`` and ``most`` cut what is drawn. Raises InputError, naming the key, for anything else.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    mean: Positive | None = None
    cv: Positive | None = None
    shape: Literal["lognormal", "gamma"] | None = Field(None, description="beside cv; unset: lognormal")
    range_ratio: float | None = Field(None, ge=0, lt=1)
    p1: Positive | None = None
    p5: Positive | None = None
    p10: Positive | None = None
    p25: Positive | None = None
    p50: Positive | None = None
    p75: Positive | None = None
    p90: Positive | None = None
    p95: Positive | None = None
    p99: Positive | None = None
    least: Tokens | None = None
    most: Tokens | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        quantiles = self.quantiles()
        ways = (self.cv is not None, self.range_ratio is not None, bool(quantiles))
        if sum(ways) != 1 or (self.mean is None) != bool(quantiles):
            raise InputError(f"expected one of {WAYS}, got {self.given()}")
        if self.shape is not None and self.cv is None:
            raise InputError("shape: only beside mean and cv")
        tokens = list(quantiles.values())
        if quantiles and (len(tokens) < 2 or any(a >= b for a, b in pairwise(tokens))):
            raise InputError(f"expected two or more quantiles that ascend, got {self.given()}")
        if (self.least or 1) > (self.most or LARGEST_TOKENS):
            raise InputError(f"least: expected at most most = {self.most}, got {self.least}")
        return self

    @model_serializer
    def given(self) -> dict[str, Any]:
        """Return the keys that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def quantiles(self) -> dict[str, float]:
        """Return the quantiles that were given, by name, in order."""
        return {name: vars(self)[name] for name in _LEVELS if vars(self)[name] is not None}

    def draw(self, rng: "np.random.Generator", n: int) -> Ints:
        """Return ``n`` lengths, tokens, i64[n]."""
        if self.range_ratio is not None:
            assert self.mean is not None
            low, high = (round(self.mean * (1 + sign * self.range_ratio)) for sign in (-1, 1))
            drawn: Any = rng.integers(low, high + 1, n)
        elif self.cv is None:
            drawn = np.exp(self._log_tokens(rng.standard_normal(n)))
        else:
            assert self.mean is not None
            if self.shape == "gamma":
                drawn = rng.gamma(1 / self.cv**2, self.mean * self.cv**2, n)
            else:
                variance = math.log1p(self.cv**2)
                drawn = np.exp(
                    math.log(self.mean) - variance / 2 + math.sqrt(variance) * rng.standard_normal(n)
                )
        cut = np.clip(np.rint(drawn), self.least or 1, self.most or LARGEST_TOKENS)
        lengths: Ints = cut.astype(np.int64)
        return lengths

    def _log_tokens(self, z: Floats) -> Floats:
        """Return the logarithm of tokens at standard normal quantiles."""
        from scipy.special import ndtri

        found = self.quantiles()
        at, logs = ndtri([_LEVELS[name] for name in found]), np.log(list(found.values()))
        slopes = np.diff(logs) / np.diff(at)
        beyond = slopes[0] * np.minimum(z - at[0], 0) + slopes[-1] * np.maximum(z - at[-1], 0)
        found_logs: Floats = np.interp(z, at, logs) + beyond
        return found_logs

    def described(self) -> str:
        """Say what it is, in short."""
        words = (value if isinstance(value, str) else f"{value:g}" for value in self.given().values())
        return ", ".join(f"{name} {word}" for name, word in zip(self.given(), words, strict=True))


def tokens_or_shape(key: str, value: Any) -> Any:
    """Return a number of tokens or a ``LengthShape`` as it is written; InputError naming the key for anything else."""
    if value is None or isinstance(value, LengthShape):
        return value
    if isinstance(value, dict):
        known = list(LengthShape.model_fields)
        for name in value:
            if name not in known:
                raise InputError(f"workload.{key}.{name}: unknown key; expected one of {', '.join(known)}")
        for name, each in value.items():
            if name != "shape" and (isinstance(each, bool) or not isinstance(each, int | float)):
                raise InputError(f"workload.{key}.{name}: expected a number, got {each!r}")
        try:
            return LengthShape(**value)
        except ValueError as error:
            raise InputError(f"workload.{key}: {_first(error)}") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"workload.{key}: expected a whole number, or one of {WAYS}, got {value!r}")
    if not 1 <= value <= LARGEST_TOKENS:
        raise InputError(f"workload.{key}: expected a whole number from 1 to {LARGEST_TOKENS:,}, got {value}")
    return value


def _first(error: ValueError) -> str:
    """Return what pydantic, or a check of ours, found first."""
    problems = getattr(error, "errors", None)
    if problems is None:
        return str(error)
    problem = problems()[0]
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return str(cause)
    where = "".join(f"{part}: " for part in problem["loc"])
    return f"{where}{problem['msg'][0].lower()}{problem['msg'][1:]}, got {problem['input']!r}"
