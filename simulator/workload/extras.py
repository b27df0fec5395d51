"""What a scenario adds to any traffic: shared prefixes, priorities, tenants, readers, thinking, patience.

Each is drawn from a random stream of its own, so that adding one shifts nothing else.
"""

import math
from dataclasses import replace

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload.checks import LATEST_S, LEAST_V_S
from simulator.workload.columns import TrafficColumns
from simulator.workload.spec import WorkloadSpec


def add(spec: WorkloadSpec, seed: int, columns: TrafficColumns, source: list[str]) -> TrafficColumns:
    """Return the columns with what ``spec`` adds to them, and tell ``source`` of it.

    Raises ``InputError`` where a trace already says what ``spec`` would draw.
    """
    own = columns.optional()
    if own and spec.trace is not None:
        source.append(f"with {', '.join(own)}")
    n = len(columns)
    if spec.shared_prefixes is not None:
        assert spec.shared_prefix_tokens is not None
        _refuse_second("shared_prefixes", spec, own, ("prefix_id", "hash_ids", "hash_runs"))
        ids = stream(seed, "prefixes").integers(0, spec.shared_prefixes, n)
        tokens = np.minimum(spec.shared_prefix_tokens, columns.prompt_tokens - 1)
        columns = replace(columns, prefix_id=np.where(tokens > 0, ids, -1), prefix_tokens=tokens)
        source.append(f"{spec.shared_prefixes:,} shared prefixes of {spec.shared_prefix_tokens:,} tokens")
    if spec.priorities is not None:
        _refuse_second("priorities", spec, own, ("priority",))
        columns = columns.carrying(priority=_classes(spec.priorities, seed, "priorities", columns))
        source.append(f"priorities with shares {', '.join(f'{share:g}' for share in spec.priorities)}")
    if spec.tenants is not None:
        _refuse_second("tenants", spec, own, ("tenant",))
        columns = columns.carrying(tenant=_classes(spec.tenants, seed, "tenants", columns))
        source.append(f"tenants with shares {', '.join(f'{share:g}' for share in spec.tenants)}")
    if spec.readers is not None:
        _refuse_second("readers", spec, own, ("v_s_per_token",))
        v_s = np.array([v_s for _, v_s in spec.readers])
        of_class = _classes([share for share, _ in spec.readers], seed, "readers", columns)
        columns = columns.carrying(v_s_per_token=v_s[of_class])
        classes = ", ".join(f"{share:g} with V = {v_s:g} s" for share, v_s in spec.readers)
        source.append(f"readers of which {classes}")
    if spec.readers_median_s is not None:
        assert spec.readers_cv is not None
        _refuse_second("readers_median_s", spec, own, ("v_s_per_token",))
        sigma = math.sqrt(math.log1p(spec.readers_cv**2))
        normal = stream(seed, "readers").standard_normal(n)[columns.first_of_session()]
        v_s = np.clip(spec.readers_median_s * np.exp(sigma * normal), LEAST_V_S, LATEST_S)
        columns = columns.carrying(v_s_per_token=v_s)
        source.append(f"readers with V of median {spec.readers_median_s:g} s, cv {spec.readers_cv:g}")
    if spec.thinking is not None:
        _refuse_second("thinking", spec, own, ("thinking_tokens",))
        of_class = _classes([share for share, _ in spec.thinking], seed, "thinking", columns)
        thinking = np.array([int(tokens) for _, tokens in spec.thinking], np.int64)[of_class]
        # At least the last token of an answer is read.
        columns = columns.carrying(thinking_tokens=np.minimum(thinking, columns.output_tokens - 1))
        classes = ", ".join(f"{share:g} with {tokens:,.0f} tokens" for share, tokens in spec.thinking)
        source.append(f"thinking in {classes}")
    if spec.patience_s is not None:
        _refuse_second("patience_s", spec, own, ("patience_s",))
        patience_s = spec.patience_s * stream(seed, "patience").standard_exponential(n)
        columns = replace(columns, patience_s=patience_s)
        source.append(f"clients that give up after {spec.patience_s:g} s on average")
    return columns


def _classes(shares: list[float], seed: int, name: str, columns: TrafficColumns) -> Ints:
    """Draw a class for each request, 0 up, with these probabilities; a session is all of one class."""
    steps = np.cumsum(shares)
    # up to the last class that a request can be in, as the sum may be a rounding error below 1
    last = int(np.flatnonzero(shares)[-1])
    classes = np.searchsorted(steps, stream(seed, name).random(len(columns)), side="right")
    return np.minimum(classes, last)[columns.first_of_session()]


def _refuse_second(key: str, spec: WorkloadSpec, own: list[str], columns: tuple[str, ...]) -> None:
    for column in columns:
        if column in own:
            raise InputError(
                f"workload.{key}: {spec.trace} says this itself, in column {column}; expected one of the two"
            )
