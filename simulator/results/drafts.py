"""What came of the drafts of speculative decoding: how many were right, at which place, and how many not."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.metrics import Measure
from simulator.replica.records import Records
from simulator.results.recorded import draft_columns, drafts_trimmed, steps_ended

MEASURES = (
    Measure(
        "engine.accepted_length", "tokens a step with drafts", "tokens", True, shown=("compare",), least=1
    ),
    Measure("engine.draft_acceptance", "drafts accepted", "share of drafts", True, shown=()),
    Measure("engine.verified_drafts", "drafts verified", "tokens", shown=(), least=0),
    Measure("engine.wasted_drafts", "drafts verified and rejected", "tokens", shown=(), least=0),
)


def drafts_made(records: Iterable[Records]) -> dict[str, Any]:
    """Return counts over all requests in all steps that had drafts of theirs and have ended.

    ``steps`` counts a request once a step; ``accepted_by_position`` counts the drafts accepted at each place, from the
    first; ``trimmed_steps`` are those in which adaptive verification chose; the others are tokens. As vLLM counts them:
    one that lies behind an answer's end is accepted all the same, one that is not verified is rejected.
    """
    drafts: list[Any] = []
    accepted: list[Any] = []
    trimmed = trimmed_steps = 0
    for each in records:
        _, step, made, right, _ = draft_columns(each)
        some = (made > 0) & (step < steps_ended(each))
        drafts.append(made[some])
        accepted.append(right[some])
        trimmed += drafts_trimmed(each)
        trimmed_steps += each.trimmed_steps
    made, right = np.concatenate(drafts), np.concatenate(accepted)
    places = range(int(made.max(initial=0)))
    return {
        "steps": len(made),
        "drafts": int(made.sum()),
        "verified": int(made.sum()) - trimmed,
        "trimmed_steps": trimmed_steps,
        "accepted": int(right.sum()),
        "drafts_by_position": [int((made > place).sum()) for place in places],
        "accepted_by_position": [int((right > place).sum()) for place in places],
    }


def summary(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of ``MEASURES`` and the share accepted at each position; nothing without speculation."""
    counts = manifest.get("drafts")
    if counts is None:
        return {}
    steps, drafts, accepted = counts["steps"], counts["drafts"], counts["accepted"]
    verified = counts.get("verified", drafts)  # all of them in older runs
    by_position = zip(counts["accepted_by_position"], counts["drafts_by_position"], strict=True)
    return {
        "accepted_length": 1 + accepted / steps if steps else None,
        "draft_acceptance": accepted / drafts if drafts else None,
        "verified_drafts": verified,
        "wasted_drafts": verified - accepted,
        "draft_acceptance_by_position": [right / made for right, made in by_position],
    }
