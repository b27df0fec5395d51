"""How much was delivered per second of the measured window, whether or not in time."""

from typing import Any

from simulator.metrics._accrued import before_window, by_window_end
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
    begin, end = before_window(run, user), by_window_end(run, user)
    completed = int(end.completed.sum() - begin.completed.sum())
    delivered = int(end.tokens.sum() - begin.tokens.sum())
    prompts = int(run.prompt_tokens[end.began & ~begin.began].sum())
    return {
        "requests_per_s": rate(completed, log.window_s),
        "output_tokens_per_s": rate(delivered, log.window_s),
        "total_tokens_per_s": rate(prompts + delivered, log.window_s),
        "completed_requests": completed,
        "output_tokens": delivered,
        "prompt_tokens_processed": prompts,
    }
