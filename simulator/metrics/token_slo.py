"""The token-level objective: every token there when the reader wants it (arXiv 2410.14257)."""

from typing import Any

from simulator.metrics._accrued import goodput_per_s
from simulator.metrics._distribution import distribution, share
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure, spread
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import deadline_slack_s, meets_token_slo, on_time_tokens

MEASURES = (
    Measure(
        "token_slo.attainment", "token SLO", "share of arrived", True, "token_slo",
        ("report", "compare", "ranking", "sweep"),
    ),
    Measure(
        "token_slo.tokens_on_time_share_of_delivered", "tokens on time", "share of delivered", True,
        shown=("report", "compare"),
    ),
    Measure("token_slo.goodput_requests_per_s", "goodput (token SLO)", "requests/s", True, shown=(), least=0),
    Measure("token_slo.goodput_tokens_per_s", "goodput (token SLO)", "tokens/s", True, shown=(), least=0),
    *spread("token_slo.deadline_slack_s", "token slack", "s", True),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return attainment (share of ARRIVED requests), its goodput, and the deadline slack of tokens.

    A request meets the objective when it completed and ``t_i <= d_i`` for every token i (arXiv 2410.14257v2, Eq. 1,
    with the deadlines of Eq. 5); attainment is Eq. 6, goodput in tokens Eq. 7. The paper's capacity, the highest rate
    at a given attainment (Eq. 6), is what ``servesim capacity --target 'token_slo>=0.99'`` finds. Slack is ``d_i −
    t_i``, how far ahead of an unstalled reader each delivered token came; negative is late.
    """
    met, run = meets_token_slo(log, user), log.all
    count = int(met.sum())
    goodput = goodput_per_s(run, met if run is log else meets_token_slo(run, user))
    on_time = int(on_time_tokens(log, user).sum())
    return {
        "attainment_over": "arrived requests",
        "attainment": share(count, log.n),
        "requests_meeting": count,
        "goodput_requests_per_s": goodput[0],
        "goodput_tokens_per_s": goodput[1],
        "tokens_on_time_share_of_delivered": share(on_time, int(log.token_offsets[-1])),
        "deadline_slack_s": distribution(deadline_slack_s(log, user), "delivered tokens"),
    }
