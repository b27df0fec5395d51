"""How much was delivered per second of the measured window, whether or not in time."""

from typing import Any

from simulator.metrics._distribution import rate
from simulator.metrics._log import RequestLog
from simulator.metrics._measure import Measure
from simulator.metrics._options import Slo, UserModel

MEASURES = (
    Measure("throughput.requests_per_s", "throughput", "requests/s", True, shown=("report", "compare")),
    Measure(
        "throughput.output_tokens_per_s", "throughput", "output tokens/s", True,
        shown=("report", "compare", "ranking", "sweep"),
    ),
    Measure("throughput.total_tokens_per_s", "throughput", "tokens/s with prompts", True, shown=("report",)),
)  # fmt: skip


def measure(log: RequestLog, user: UserModel, slo: Slo) -> dict[str, Any]:
    """Return the rates of completed requests, of delivered tokens, and of all tokens.

    Delivered tokens count for every request, completed or not. All tokens are those plus the prompts of the
    requests that got a first token, since those prompts were processed to the end.
    """
    completed = int(log.completed.sum())
    delivered = int(log.token_offsets[-1])
    prompts = int(log.prompt_tokens[log.token_counts > 0].sum())
    return {
        "requests_per_s": rate(completed, log.window_s),
        "output_tokens_per_s": rate(delivered, log.window_s),
        "total_tokens_per_s": rate(prompts + delivered, log.window_s),
        "output_tokens": delivered,
        "prompt_tokens_processed": prompts,
    }
