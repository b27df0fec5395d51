"""All that the author of a policy imports: the seams, and the types that stand in them."""

from simulator.arrays import Floats, Ints
from simulator.cluster.policy import (
    Abandonment,
    Admission,
    Migration,
    Move,
    PoolView,
    ReplicaView,
    Roles,
    Router,
    Scaler,
    least_loaded,
    place_of,
)
from simulator.replica.cost import StepShape
from simulator.replica.draft_trees import DraftTree, likeliest_of
from simulator.replica.experts import ExpertLoad, ExpertPlacement
from simulator.replica.idle_cost import IdleCost, Origin, Penalty
from simulator.replica.job import Job, JobState
from simulator.replica.lanes import Lanes, Launch
from simulator.replica.ledger_view import Ledger
from simulator.replica.policy import Scheduler
from simulator.replica.speculation import Acceptance, AnswerDraws, TreeAcceptance
from simulator.results.delivery import Delivery
from simulator.workload.difficulty import expected_score

__all__ = [
    "Abandonment",
    "Acceptance",
    "Admission",
    "AnswerDraws",
    "Delivery",
    "DraftTree",
    "ExpertLoad",
    "ExpertPlacement",
    "Floats",
    "IdleCost",
    "Ints",
    "Job",
    "JobState",
    "Lanes",
    "Launch",
    "Ledger",
    "Migration",
    "Move",
    "Origin",
    "Penalty",
    "PoolView",
    "ReplicaView",
    "Roles",
    "Router",
    "Scaler",
    "Scheduler",
    "StepShape",
    "TreeAcceptance",
    "check_share",
    "expected_score",
    "least_loaded",
    "likeliest_of",
    "place_of",
]


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is a share: at least 0 and below 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a share, at least 0 and below 1; got {value}")
