"""How much the steps of a scenario's engines vary."""

from typing import TYPE_CHECKING

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.replica.policy import Scheduler
    from simulator.scenario.scenario import Scenario


def jitter_of(scenario: "Scenario", policy: "Scheduler", stages: int, ranks: int) -> float:
    """Return the standard deviation of a step's factor; ``ranks`` step together.

    Raises InputError for engines whose steps are not priced one by one.
    """
    jitter = scenario.engine.step_jitter
    for why, asked in (
        (f"policy.scheduling = {scenario.policy.scheduling.name}, which splits SMs", policy.splits_sms()),
        ("several stages", stages > 1),
        ("data-parallel ranks that step together", ranks > 1),
    ):
        if jitter and asked:
            raise InputError(f"engine.step_jitter: not simulated with {why}; expected 0")
    return jitter
