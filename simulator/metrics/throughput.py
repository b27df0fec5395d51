"""How much was delivered per second of the measured window, whether or not in time."""

from typing import Any

from simulator.metrics._accrued import fell_in
from simulator.metrics._distribution import rate
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure
from simulator.metrics._options import Slo, UserModel

MEASURES = (
    Measure("throughput.requests_per_s", "throughput", "requests/s", True, shown=("report", "compare"), least=0),
    Measure(
        "throughput.output_tokens_per_s", "throughput", "output tokens/s", True,
        shown=("report", "compare", "ranking", "sweep"), least=0,
    ),
    Measure("throughput.total_tokens_per_s", "throughput", "tokens/s with prompts", True, shown=("report",), least=0),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the rates of completions, of delivered tokens, and of all tokens that FALL into the window.

    Those of all requests of the run count, completed or not, whenever they arrived. All tokens are the delivered
    ones plus the prompts of the requests whose first token was delivered in the window.
    """
    run = log.all
    here = fell_in(run)
    completed, delivered = int(here.completed.sum()), int(here.tokens.sum())
    prompts = int(run.prompt_tokens[here.began].sum())
    return {
        "requests_per_s": rate(completed, log.window_s),
        "output_tokens_per_s": rate(delivered, log.window_s),
        "total_tokens_per_s": rate(prompts + delivered, log.window_s),
        "completed_requests": completed,
        "output_tokens": delivered,
        "prompt_tokens_processed": prompts,
    }
