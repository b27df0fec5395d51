"""Policies given in Python as classes and instances."""

import pickle
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from policies.routing.round_robin import RoundRobin
from policies.scheduling.sjf import Sjf
from policies.scheduling.vllm_v1 import VllmV1
from simulator import InputError, Scenario, run
from simulator.scenario.discover import load
from simulator.scenario.given import GivenPolicy
from simulator.scenario.origins import given
from simulator.studies.points import Kept, Point

TRAFFIC = {"trace": "azure2023_conv", "limit": 40}
HERE = str(Path(__file__).resolve())


@dataclass(frozen=True)
class Weighted(VllmV1):
    """As vLLM, with parameters that change nothing."""

    weight: float = 2.0
    kinds: list[str] = field(default_factory=lambda: ["a"])


class First:
    """To the first replica."""

    def route(self, job, replicas, draw):
        return 0


class Stubborn(First):
    def __init__(self, index):
        self.index = index


class Counting(First):
    def __init__(self):
        self.asked = 0


class Failing(First):
    def route(self, job, replicas, draw):
        return replicas[len(replicas)]


def scheduling(policy, **tables):
    return Scenario(policy={"scheduling": policy}, workload=TRAFFIC, **tables)


def routing(policy):
    return Scenario(policy={"routing": policy}, cluster={"replicas": 2}, workload=TRAFFIC)


def tables_of(result):
    return {name: getattr(result, name)() for name in ("requests", "tokens", "steps")}


def test_a_class_serves_as_its_name_would():
    named = run(scheduling("vllm_v1"))
    ours = run(scheduling(Weighted))
    assert tables_of(ours) == tables_of(named)
    assert ours.manifest["scenario"]["policy"]["scheduling"]["name"] == "Weighted"
    assert ours.manifest["scenario"]["policy"]["scheduling"]["weight"] == 2.0
    assert ours.manifest["policies"]["policy.scheduling"] == {
        "name": "Weighted",
        "class": f"{__name__}.Weighted",
        "file": HERE,
        "package": None,
    }
    assert "policies" not in named.manifest


@examples(st.floats(0.1, 1e6), st.lists(st.text(max_size=3), max_size=3))
def test_an_instance_keeps_its_parameters(weight, kinds):
    scenario = scheduling(Weighted(weight=weight, kinds=kinds))
    for alike in (
        scenario,
        scenario.with_overrides([]),
        pickle.loads(pickle.dumps(scenario)),
        deepcopy(scenario),
    ):
        choice = alike.policy.scheduling
        assert load("scheduling", choice.name) is Weighted
        assert (choice.params["weight"], choice.params["kinds"]) == (weight, kinds)
    changed = scenario.with_overrides(["policy.scheduling.weight=3"])
    assert changed.policy.scheduling.params["weight"] == 3
    assert changed.policy.scheduling.params["kinds"] == kinds


def test_a_table_may_name_a_class():
    choice = scheduling({"name": Weighted, "weight": 4.0}).policy.scheduling
    assert (choice.name, choice.params["weight"]) == ("Weighted", 4.0)
    with pytest.raises(InputError, match=r"policy.scheduling.wait: Weighted has no such parameter"):
        scheduling({"name": Weighted, "wait": 4.0})
    with pytest.raises(InputError, match=r"policy.scheduling.weight: expected a finite number > 0, got -1.0"):
        scheduling(Weighted(weight=-1.0))


def test_pools_have_them_too():
    cluster = {"prefill": {"scheduling": Weighted}, "decode": {}, "hand_off": {"routing": First}}
    scenario = Scenario(cluster=cluster, workload=TRAFFIC)
    assert [each.key for each in given(scenario)] == [
        "cluster.prefill.scheduling",
        "cluster.hand_off.routing",
    ]
    assert set(run(scenario).manifest["policies"]) == {
        "cluster.prefill.scheduling",
        "cluster.hand_off.routing",
    }


def test_a_shipped_class_is_its_name():
    assert scheduling(Sjf) == scheduling("sjf")
    assert type(routing(RoundRobin()).policy.routing.name) is str


def test_a_name_that_is_shipped_is_told_apart():
    mine = type("none", (First,), {"__module__": __name__})
    assert routing(mine).policy.routing.name == "none"  # no router is called so
    router = type("random", (First,), {"__module__": __name__})
    assert routing(router).policy.routing.name == f"{__name__}.random"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (3, "expected a name or a table with a name, got 3"),
        (dict, "expected a name or a table with a name, got <class 'dict'>"),
        (len, "expected a name or a table with a name"),
        (Weighted, r"Weighted has no method route\(\); expected a routing policy"),
        (Stubborn(1), "Stubborn was given as an instance with state that cannot be read"),
        (Stubborn, "Stubborn.__init__"),
    ],
)
def test_what_is_no_policy_is_refused(policy, said):
    with pytest.raises(InputError, match=f"policy.routing: .*{said}"):
        routing(policy)


def test_instances_without_state_are_as_their_class():
    assert routing(First()) == routing(First)
    assert routing(Counting()) == routing(Counting)
    counted = Counting()
    counted.asked = 7
    with pytest.raises(InputError, match="with state that cannot be read"):
        routing(counted)


def test_types_that_cannot_be_found_are_said():
    class Local(VllmV1):
        pass

    Local.__annotations__, Local.ageing = {"ageing": "Unheard"}, 1.0
    with pytest.raises(InputError, match="Local: the type of a parameter cannot be found"):
        scheduling(dataclass(frozen=True)(Local))


def test_a_mistake_is_told_with_file_and_line():
    with pytest.raises(InputError, match=rf"policy.routing: {HERE}: line \d+: IndexError"):
        run(routing(Failing))


def test_one_in_a_file_of_its_own_is_written_as_its_path(tmp_path, monkeypatch):
    path = tmp_path / "to_the_last.py"
    path.write_text(
        "class ToTheLast:\n    def route(self, job, replicas, draw):\n        return len(replicas) - 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import to_the_last  # type: ignore[import-not-found]

    file = tmp_path / "scenario.toml"
    file.write_text(routing(to_the_last.ToTheLast).to_toml())
    again = Scenario.from_toml(file)
    assert again.policy.routing.name == str(path.resolve())
    assert tables_of(run(again)) == tables_of(run(routing(to_the_last.ToTheLast)))


def test_others_cannot_be_written_and_it_is_said():
    with pytest.raises(
        InputError, match=r"policy.routing: First was given as a class and is not the policy that"
    ):
        routing(First).to_toml()


def test_classes_of_one_name_are_told_apart_and_nothing_is_kept_of_them(tmp_path):
    one, other = (type("Mine", (First,), {"__module__": __name__}) for _ in range(2))
    assert routing(one) != routing(other)
    points = [Point({}, 0, routing(each), None) for each in (one, other)]
    assert points[0].digest != points[1].digest
    kept = Kept(tmp_path)
    kept.put(points[0], {"found": 1})
    assert kept.get(points[0]) is None
    assert not GivenPolicy("Mine", one).sendable
    assert GivenPolicy("First", First).sendable


NOTEBOOK = """
from dataclasses import dataclass
from simulator import InputError, Scenario, run
from policies.scheduling.vllm_v1 import VllmV1

@dataclass(frozen=True)
class Mine(VllmV1):
    ageing: float = 5.0
    def plan(self, step):
        if self.ageing == 6.0:
            raise KeyError("here")
        super().plan(step)

scenario = Scenario(policy={"scheduling": Mine(ageing=7.0)}, workload={"trace": "azure2023_conv", "limit": 20})
result = run(scenario)
print(result.manifest["policies"]["policy.scheduling"], result.requests().num_rows)
mistaken = Scenario(policy={"scheduling": Mine(ageing=6.0)}, workload={"trace": "azure2023_conv", "limit": 20})
for wrong in (scenario.to_toml, lambda: run(mistaken)):
    try:
        wrong()
    except InputError as error:
        print(error)
"""


def test_a_class_made_at_a_prompt_is_simulated():
    done = subprocess.run([sys.executable, "-"], input=NOTEBOOK, capture_output=True, text=True, check=True)
    where, toml, mistake = done.stdout.splitlines()
    assert where == "{'name': 'Mine', 'class': '__main__.Mine', 'file': None, 'package': None} 20"
    assert "Mine was given as a class and is in no file, so a scenario file cannot name it" in toml
    assert mistake == "policy.scheduling: <stdin>: line 11: KeyError: 'here'"
