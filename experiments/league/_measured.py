"""The numbers of a run by which schedulers are compared, under the names of ``league.toml``."""

from typing import Any

import numpy as np

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._log import RequestLog
from simulator.replica.request import RequestState
from simulator.results.result import Result

OUTPUT_WEIGHT = (
    2  # of an output token in a tenant's service; a prompt token has 1 (VTC, arXiv 2401.00588, section 3)
)


def measured(result: Result, _: Any = None) -> dict[str, float]:
    """Return the metrics of one run. Latencies count a request that was not served as ending with the run."""
    summary = result.summary()
    log = result.measured
    run_end_s = result.log.end_of_run_s
    done = log.state == RequestState.COMPLETED
    e2e_s = np.where(done, log.end_s, run_end_s) - log.arrival_s
    began = log.token_counts > 0
    first_s = np.full(log.n, run_end_s)
    first_s[began] = log.delivered_s[log.token_offsets[:-1][began]]
    return {
        "smooth_goodput": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "throughput": summary["throughput"]["output_tokens_per_s"],
        "slo_goodput": summary["slo"]["goodput_requests_per_s"],
        "deadlines": float(summary["token_slo"]["attainment"]),
        "qoe": summary["qoe"]["qoe"]["mean"],
        "e2e": float(e2e_s.mean()),
        "normalised_latency": float((e2e_s / np.maximum(log.output_tokens, 1)).mean()),
        "ttft_p99": float(np.quantile(first_s - log.arrival_s, 0.99)),
        "tbt_p99": summary["latency"]["tbt_s"]["p99"],
        "fairness": fair_share(*tenants_served(result)),
    }


def tenants_served(result: Result) -> tuple[Floats, Floats]:
    """Return what each tenant asked for in the measured window, and what of it was served there, f64[tenants].

    Prompt tokens count when the first token is delivered, output tokens when each is (VTC's service, with its weights).
    """
    columns = result.request_columns
    if columns is None:
        raise ValueError("the requests of the run were not kept")
    log = result.log
    window = (result.measured.start_s, result.measured.end_of_run_s)
    tenant: Ints = columns["tenant"]
    asked = np.where(log.arrival_s <= window[1], log.prompt_tokens + OUTPUT_WEIGHT * log.output_tokens, 0)
    served = _served(log, *window)
    tenants = int(tenant.max()) + 1
    return _sums(tenant, asked, tenants), _sums(tenant, served, tenants)


def fair_share(asked: Floats, served: Floats) -> float:
    """Return what the tenant served least got, over its max-min fair share of all that was served: at most 1.

    A tenant's fair share is what it asked for, or an equal part of what the others leave. Shapes f64[tenants]; asked
    for nothing is left out. 1 where all did.
    """
    share = fair_shares(asked, float(served.sum()))
    some = share > 0
    return float(min(1.0, (served[some] / share[some]).min())) if some.any() else 1.0


def fair_shares(asked: Floats, total: float) -> Floats:
    """Return the max-min fair shares of a total, f64[tenants]: who asks for least is served first (water-filling)."""
    shares = np.zeros_like(asked)
    left = total
    for place, tenant in enumerate(np.argsort(asked)):
        shares[tenant] = min(float(asked[tenant]), left / (len(asked) - place))
        left -= shares[tenant]
    return shares


def _sums(tenant: Ints, values: Floats, tenants: int) -> Floats:
    return np.bincount(tenant, values, tenants).astype(np.float64)


def _served(log: RequestLog, start_s: float, end_s: float) -> Floats:
    inside: Flags = (log.delivered_s >= start_s) & (log.delivered_s <= end_s)
    before = np.concatenate([[0], np.cumsum(inside)])
    tokens = before[log.token_offsets[1:]] - before[log.token_offsets[:-1]]
    began = log.token_counts > 0
    prompt = np.zeros(log.n, dtype=np.int64)
    prompt[began] = np.where(inside[log.token_offsets[:-1][began]], log.prompt_tokens[began], 0)
    served: Floats = (prompt + OUTPUT_WEIGHT * tokens).astype(np.float64)
    return served
