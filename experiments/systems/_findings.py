"""What a study of a system finds: claim by claim, whether the simulator agrees, and the verdict over all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from experiments.paper._reproduce import Outcome, Study, Verdict

Agreement = Literal["agree", "partly", "not"]
OUTCOMES: dict[Agreement, Outcome] = {
    "agree": "reproduced",
    "partly": "partly reproduced",
    "not": "not reproduced",
}
TABLE = "table_"  # begins the names of the tables that stand in the page; the others are linked


@dataclass(frozen=True)
class Finding:
    """One claim about a system, what was measured of it, and what differs and why."""

    claim: str  # in one sentence, with where it was reported or who expects it
    outcome: Agreement  # by the test that the study's file states
    measured: str


def all_or_some(holds: Sequence[bool]) -> Agreement:
    """Return ``agree`` if something holds in all cases, ``partly`` if in some."""
    return "agree" if all(holds) else "partly" if any(holds) else "not"


def verdict(study: Study, claim: str, findings: Sequence[Finding]) -> Verdict:
    """Write the table of findings, and return the verdict: reproduced where all agree, not where none does."""
    shown(
        study,
        "findings",
        {
            "claim": [each.claim for each in findings],
            "verdict": [f"**{each.outcome}**" for each in findings],
            "measured": [each.measured for each in findings],
        },
    )
    outcomes = {each.outcome for each in findings}
    outcome = OUTCOMES[outcomes.pop()] if len(outcomes) == 1 else "partly reproduced"
    counted = [f"{sum(each.outcome == word for each in findings)} {word}" for word in OUTCOMES]
    return Verdict(
        outcome,
        claim,
        " ".join(each.measured for each in findings),
        f"Of {len(findings)} claims: {', '.join(counted)}.",
        {each.claim: OUTCOMES[each.outcome] for each in findings},
    )


def shown(study: Study, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table that stands in the page; what is in it is shown as it is."""
    study.table(f"{TABLE}{name}", columns)
