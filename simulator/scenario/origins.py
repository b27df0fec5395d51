"""Where the policies of a scenario come from that are not shipped: class, file, installed package."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from simulator.scenario.discover import KINDS, PolicyKind, discover, load
from simulator.scenario.given import GivenPolicy, source_file
from simulator.scenario.policy import DEFAULT_POLICY, PolicyChoice
from simulator.scenario.scenario import Scenario


class ChosenPolicy(NamedTuple):
    """A policy of a scenario, and the key it is given under."""

    key: str
    kind: PolicyKind
    choice: PolicyChoice


def chosen(scenario: Scenario) -> Iterator[ChosenPolicy]:
    """Yield the policies of a scenario, those of its pools too."""
    for kind in KINDS:
        yield ChosenPolicy(f"policy.{kind}", kind, getattr(scenario.policy, kind))
    cluster = scenario.cluster
    for name, pool in cluster.named_pools.items():
        if pool.scheduling is not None:
            yield ChosenPolicy(f"{cluster.key(name)}.scheduling", "scheduling", pool.scheduling)
        if pool.scaling is not None:
            yield ChosenPolicy(f"{cluster.key(name)}.scaling", "scaling", pool.scaling)
    yield ChosenPolicy("cluster.hand_off.routing", "routing", cluster.hand_off.routing)


def given(scenario: Scenario) -> list[ChosenPolicy]:
    """Return those that were given as a class or an instance."""
    return [each for each in chosen(scenario) if isinstance(each.choice.name, GivenPolicy)]


def origins(scenario: Scenario) -> dict[str, dict[str, Any]]:
    """Return where each policy that is not shipped comes from, by key: its name, class, file and installed package.

    File and package are None where there is none, as for a class made in a notebook.
    """
    found: dict[str, dict[str, Any]] = {}
    for key, kind, choice in chosen(scenario):
        name = choice.name
        if name == DEFAULT_POLICY[kind] or (not isinstance(name, GivenPolicy) and name in discover(kind)):
            continue
        policy, package = load(kind, name, key), None
        if not isinstance(name, GivenPolicy) and not name.endswith(".py"):
            from simulator.scenario.plugins import plugin

            installed = plugin(kind, name, key)
            package = None if installed is None else installed.distribution
        file = source_file(policy)
        found[key] = {
            "name": str(name),
            "class": f"{policy.__module__}.{policy.__qualname__}",
            "file": None if file is None else str(file),
            "package": package,
        }
    return found
