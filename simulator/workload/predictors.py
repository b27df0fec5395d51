"""What a predictor says of each request's output before it runs, for policies that order by length."""

import numpy as np

from simulator.arrays import Ints
from simulator.rng import stream
from simulator.workload.spec import WorkloadSpec


def predict(spec: WorkloadSpec, seed: int, output_tokens: Ints, max_tokens: int) -> Ints | None:
    """Return a prediction for each request in tokens, 1 to ``max_tokens``; None without a predictor."""
    if spec.predictor == "none":
        return None
    if spec.predictor == "perfect":
        return output_tokens
    rng = stream(seed, "predictor")
    if spec.predictor == "lognormal":
        assert spec.predictor_sigma is not None
        noisy = np.rint(
            output_tokens * np.exp(spec.predictor_sigma * rng.standard_normal(len(output_tokens)))
        )
        return np.clip(noisy, 1, max_tokens).astype(np.int64)
    assert spec.predictor_buckets is not None
    bounds = np.array([*(bound for bound in spec.predictor_buckets if bound < max_tokens), max_tokens])
    bucket = np.searchsorted(bounds, output_tokens)
    if len(bounds) > 1 and spec.predictor_accuracy is not None:
        draws = rng.random((len(output_tokens), 2))
        other = (draws[:, 1] * (len(bounds) - 1)).astype(np.int64)
        other += other >= bucket
        bucket = np.where(draws[:, 0] < spec.predictor_accuracy, bucket, other)
    return bounds[bucket]


def described(spec: WorkloadSpec) -> str:
    """Say in a few words which predictor that is."""
    if spec.predictor == "lognormal":
        return f"outputs predicted with lognormal noise of sigma {spec.predictor_sigma:g}"
    if spec.predictor == "bucketed":
        share = 1.0 if spec.predictor_accuracy is None else spec.predictor_accuracy
        assert spec.predictor_buckets is not None
        return f"outputs predicted in {len(spec.predictor_buckets) + 1} buckets, {share:.3g} of them right"
    return "outputs known beforehand"
