"""The orders that SGLang can put its waiting queue in."""

import random
from typing import Literal

from policies.scheduling._sglang_running import allowed_tokens
from simulator.policy import Ledger

Rule = Literal["fcfs", "lpm", "dfs-weight", "lof", "random"]

LPM_LONGEST_QUEUE = 128  # beyond it, looking up what is cached takes too long


def sort_waiting(step: Ledger, rule: Rule, urgent: bool, draw: random.Random) -> None:
    """Put the waiting queue in the order of ``rule``, the more ``urgent`` first; fcfs is as they came.

    Source: SGLang 0.5.3, SchedulePolicy in schedule_policy.py.
    """
    if rule == "lof":
        step.sort_waiting(lambda job: (job.priority if urgent else 0, -allowed_tokens(step, job)))
    elif rule == "random":
        step.sort_waiting(lambda _: draw.random())
    elif rule == "fcfs" and urgent:
        step.sort_waiting(lambda job: job.priority)
    elif rule == "dfs-weight" or (rule == "lpm" and len(step.waiting) <= LPM_LONGEST_QUEUE):
        ranks = step.prefix_ranks(rule)
        if ranks:  # there is a radix tree
            step.sort_waiting(ranks.__getitem__)
