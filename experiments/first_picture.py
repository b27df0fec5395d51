"""The first picture of README.md: one request under two schedulers, and what its reader gets.

Azure's conversations at 8 requests/s on an A100 (LLaMA-3.1-8B), whose readers take 20 tokens a second. SGLang puts new
prompts before the tokens of running answers; ``smooth`` does so only while their readers have text in hand. Shown is a
request of 80 to 200 tokens that both complete: the one with the longest single wait, under the first, for a token after
its first. It is picked to show what waiting is, and says nothing of how often it happens.

    python -m experiments.first_picture [FILE]    (docs/first_picture.png)
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.paper._timelines import draw_timeline, tokens_of, waits
from simulator import Scenario, run
from simulator.arrays import Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import benefit_tokens, idle_latency_s
from simulator.report.style import axes, drawing, label_panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

USER = UserModel(0.05)  # alpha is 1/V: a second of waiting costs the tokens that would have been read in it
SCHEDULERS = ("sglang", "smooth")
TOKENS = (80, 200)


def served(scheduler: str) -> RequestLog:
    """Return what readers got under a scheduler."""
    return run(
        Scenario(
            hardware={"gpu": "a100-80gb-sxm", "model": "llama-3.1-8b"},
            policy={"scheduling": scheduler},
            workload={"trace": "azure2023_conv", "rate_rps": 8.0, "limit": 400},
            user={"v_s_per_token": USER.v_s_per_token},
        )
    ).log


def shown(logs: dict[str, RequestLog]) -> int:
    """Return which request is drawn, by the rule above."""
    first = logs[SCHEDULERS[0]]
    longest_s = np.full(first.n, -np.inf)
    for request in range(first.n):
        both = all(log.completed[request] for log in logs.values())
        if both and TOKENS[0] <= first.output_tokens[request] <= TOKENS[1]:
            start_s = float(first.ttft_s[request])
            longest_s[request] = max(
                (
                    end - start
                    for start, end in waits(tokens_of(first, request), USER.v_s_per_token)
                    if end > start_s
                ),
                default=0.0,
            )
    return int(np.argmax(longest_s))


def mark_slack(panel: "Axes", delivered_s: Floats) -> None:
    """Point at the longest time without a token in which the reader still had text."""
    found = waits(delivered_s, USER.v_s_per_token)
    gaps_s = np.diff(delivered_s)
    for i, start_s in enumerate(delivered_s[:-1]):
        if any(start < delivered_s[i + 1] and end > start_s for start, end in found):
            gaps_s[i] = 0.0
    i = int(np.argmax(gaps_s))
    panel.annotate(
        "no token comes, but\nthere is text in hand",
        (delivered_s[i] + gaps_s[i] / 2, i + 1),
        (-40, 30),
        textcoords="offset points",
        fontsize=7,
        arrowprops={"arrowstyle": "-", "linewidth": 0.6},
    )


def draw(path: Path) -> None:
    """Simulate both, and draw the request into a PNG file."""
    logs = {scheduler: served(scheduler) for scheduler in SCHEDULERS}
    request = shown(logs)
    with drawing():
        figure, grid = axes(1, 2, width="text", height_in=2.5, sharex=True, sharey=True)
        for panel, (scheduler, log) in zip(grid[0], logs.items(), strict=True):
            draw_timeline(panel, tokens_of(log, request), USER.v_s_per_token, reading=True)
            idle_s, worth = (
                float(idle_latency_s(log, USER)[request]),
                float(benefit_tokens(log, USER)[request]),
            )
            panel.set_title(scheduler)
            panel.set_xlabel(
                "time since the request (s)\n\n"
                f"{log.token_counts[request]} tokens delivered \u2212 {USER.alpha_tokens:g} tokens/s"
                f" \u00d7 {idle_s:.2f} s of waiting\n= benefit of {worth:.0f} tokens"
            )
        mark_slack(grid[0, 0], tokens_of(logs[SCHEDULERS[0]], request))
        grid[0, 1].set_ylabel("")
        grid[0, 1].legend(loc="lower right")
        label_panels(grid)
    save(figure, path)


if __name__ == "__main__":
    draw(
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(__file__).parent.parent / "docs" / "first_picture.png"
    )
