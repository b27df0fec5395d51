"""A router that says that it looks at no replica is shown none, whatever else is going on."""

import pytest

from simulator import Scenario, run
from simulator.cluster.deployment import Fault, Faults, HandOff
from simulator.errors import InputError
from simulator.policy import least_loaded, place_of
from tests.small_clusters import apart, serve, together, traffic

PEEKS = {
    "load": lambda replicas: replicas[0].outstanding_tokens,
    "helper": least_loaded,
    "inside": lambda replicas: replicas[-1].engine,
    "loop": lambda replicas: max(each.free_blocks for each in replicas),
    "slice": lambda replicas: replicas[:1][0].running,
    "guarded": lambda replicas: getattr(replicas[0], "last_step_s", 0),
}


class Mine:
    """Says that it looks at nothing; ``peek`` is what it does."""

    looks_at_load = False

    def __init__(self, peek):
        self.peek = peek

    def route(self, job, replicas, draw):
        self.peek(replicas)
        return 0


REQUESTS = traffic([0.0, 0.5, 3.0], [4, 4, 4], [3, 3, 3])
ON = {
    "nothing else": {},
    "faults": {"faults": Faults([Fault("crash", 1, 1.0, 1.0)])},
    "a horizon": {"horizon_s": 2.5},
}


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("peek", PEEKS)
def test_whatever_it_looks_at_is_refused(peek, on):
    with pytest.raises(InputError) as refused:
        serve(REQUESTS, together(router=Mine(PEEKS[peek]), **ON[on]))
    said = str(refused.value)
    assert said.startswith("policy.routing: Mine.route asks for ")
    assert "Mine declares looks_at_load = False" in said


def test_of_hand_offs_too():
    mine = Mine(PEEKS["load"])
    deployment = apart(decode=2)
    deployment = deployment._replace(hand_off=HandOff(mine))
    with pytest.raises(InputError, match="Mine declares looks_at_load = False"):
        serve(REQUESTS, deployment)


def test_it_knows_how_many_there_are_and_which_is_which():
    met = []

    class ByNumber(Mine):
        def route(self, job, replicas, draw):
            met.append(list(replicas))
            assert len(replicas) == len(met[-1]) == len(replicas[:])
            assert [place_of(each, replicas) for each in replicas] == list(range(len(replicas)))
            return len(replicas) - 1

    outcome = serve(
        traffic([0.0, 1.5, 6.0], [4, 4, 4], [2, 2, 2]),
        together(3, router=ByNumber(None), faults=Faults([Fault("crash", 0, 1.0, 3.0)])),
    )
    assert [len(each) for each in met] == [3, 2, 3]
    assert met[1] == met[0][1:]
    assert met[2] == met[0]
    assert all(one is other for one, other in zip(met[0], met[2], strict=True))
    assert outcome.tables.requests["replica"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("answer", [1.0, "1", None, 2])
def test_its_answer_is_a_place(answer):
    class Wrong(Mine):
        def route(self, job, replicas, draw):
            return answer

    with pytest.raises(InputError, match=r"Wrong\.route returned .*; expected a number from 0 to 1"):
        serve(REQUESTS, together(router=Wrong(None)))


@pytest.mark.parametrize("router", ["least_loaded", "power_of_two", "slo_aware", "aladdin", "llumnix"])
def test_one_replica_is_served_alike_whether_its_router_looks_at_it_or_not(router):
    """To be looked at it is simulated up to each arrival, with all that came before."""

    def served(routing):
        lengths = {"prompt_tokens": 100, "output_tokens": 20}
        workload = {"arrivals": "poisson", "rate_rps": 20.0, "requests": 600, **lengths}
        return run(Scenario(workload=workload, policy={"routing": routing})).requests()

    assert served(router).equals(served("round_robin"))
