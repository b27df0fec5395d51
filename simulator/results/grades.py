"""How good the answers were that readers got, and from calls of models to the requests of readers."""

from typing import Any

import numpy as np

from simulator.arrays import Columns, Flags, Floats, Ints
from simulator.metrics import Measure, RequestLog
from simulator.metrics._reader import benefit_tokens
from simulator.metrics._window import measured
from simulator.replica.request import RequestState
from simulator.results.scoring import Scoring

MEASURES = (
    Measure("quality.good_share", "good answers", "share of arrived", True, shown=("compare",)),
    Measure(
        "quality.smooth_goodput_tokens_per_s",
        "smooth goodput of good answers",
        "tokens/s",
        True,
        shown=("compare",),
    ),
    Measure("quality.usd_per_request", "list price", "US$ a request", shown=("compare",), least=0),
    Measure("quality.usd_per_good_answer", "price", "US$ a good answer", shown=("compare",), least=0),
    Measure("quality.calls_per_request", "models asked", "calls a request", shown=(), least=0),
)


def of_readers(requests: Columns, number_of: Ints, n: int, first: int) -> Columns:
    """Return one row a request, i.e. the first ``n``, of a table that has a row for each turned-down call, too.

    Those are rows from ``first`` on, of the requests ``number_of``. A request is served since its first call, and where
    its last one was never turned down nor answered, because it was dropped or lost, it ended with that.
    """
    found = {name: column[:n].copy() for name, column in requests.items()}
    if not len(number_of):
        return found
    for name, add in (("first_scheduled_s", np.fmin), ("preemptions", np.add)):
        add.at(found[name], number_of, requests[name][first:])
    last = np.full(n, -1, np.int64)
    last[number_of] = np.arange(len(number_of))
    state = requests["state"][first:][last]
    lost = (last >= 0) & (state != RequestState.COMPLETED) & (state != RequestState.UNFINISHED)
    for name in ("state", "end_s", "replica"):
        found[name][lost] = requests[name][first:][last[lost]]
    return found


def grades(
    requests: Columns, number_of: Ints, first: int, rows: Ints, good: Flags, usd: Floats, pool_of: Ints
) -> Columns:
    """Return what is known of each request's answer, to stand beside the columns of all calls.

    ``good_answer``: 1, or 0, or -1 without an answer; ``calls`` of models that were begun; ``list_usd``, their list
    price. ``rows`` are the requests' in the workload; ``good`` is bool[workload, pools], ``usd`` f64[pools],
    ``pool_of`` the pool of each replica.
    """
    n, replica = len(rows), requests["replica"]
    pool = pool_of[replica]
    answered = requests["state"][:n] == RequestState.COMPLETED
    calls = np.where(replica >= 0, 1, 0)
    price = np.where(replica >= 0, usd[pool], 0.0)
    of_request = np.concatenate([np.arange(n), number_of]).astype(np.int64)
    mine = np.concatenate([np.arange(n), np.arange(first, len(replica))])
    return {
        "good_answer": np.where(answered, good[rows, pool[:n]], -1).astype(np.int8),
        "calls": np.bincount(of_request, calls[mine], minlength=n).astype(np.int32),
        "list_usd": np.bincount(of_request, price[mine], minlength=n),
    }


def quality(log: RequestLog, requests: Columns, by: Scoring, usd: float) -> dict[str, Any]:
    """Return how good the answers were to requests that arrived in the window; nothing where that is not known.

    The smooth goodput of good answers is that of all requests with the benefit of answers that are not good counted
    as 0, unless their readers' waits made it negative. ``usd`` is what the replicas cost in the window.
    """
    if "good_answer" not in requests:
        return {}
    window = measured(log, by.window)
    begin = int(np.searchsorted(log.arrival_s, window.start_s, side="left"))
    mine = slice(begin, begin + window.n)
    good = requests["good_answer"][mine] == 1
    benefit = benefit_tokens(window, by.user)
    worth = float(np.where(good, benefit, np.minimum(benefit, 0.0)).sum())
    n, number = window.n, int(good.sum())
    return {
        "quality": {
            "good_answers": number,
            "good_share": number / n if n else None,
            "smooth_goodput_tokens_per_s": worth / window.window_s if window.window_s else None,
            "usd_per_request": float(requests["list_usd"][mine].mean()) if n else None,
            "usd_per_good_answer": usd / number if number else None,
            "calls_per_request": float(requests["calls"][mine].mean()) if n else None,
        }
    }
