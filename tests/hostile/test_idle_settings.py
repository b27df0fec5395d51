"""Settings that have nothing to act on are told, each in a sentence, and others are not."""

import pytest

from simulator.report.report import warnings
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario

WORKLOAD = {"arrivals": "constant", "rate_rps": 9.0, "requests": 4, "prompt_tokens": 40, "output_tokens": 8}
POOLS = {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}
TWO = {"replicas": 2}
CRASH = {"kind": "crash", "replica": 0, "at_s": 0.1, "for_s": 0.1}
LINK = {"kind": "link", "replica": 0, "at_s": 0.1, "for_s": 0.1}
IDLE = [
    (
        {"routing": "prefix_affinity", "scheduling": "orca"},
        TWO,
        "policy.routing = prefix_affinity has nothing to read: prefix caching is off",
    ),
    ({"routing": "prefix_affinity"}, TWO, "policy.routing = prefix_affinity has nothing to read: no requests begin"),
    ({"routing": "session_affinity"}, TWO, "policy.routing = session_affinity has nothing to go by: no request"),
    ({"routing": "least_loaded"}, {}, "policy.routing = least_loaded has nothing to choose from: there is one"),
    ({"migration": "llumnix"}, {}, "policy.migration = llumnix has nothing to move to: there is one replica"),
    ({"acceptance": "rate"}, {}, "policy.acceptance = rate has nothing to accept: speculation.method is none"),
    ({}, {"link": {"latency_s": 0.5}}, "cluster.link.latency_s has nothing to act on: no KV cache is sent"),
    ({}, {"link": {"connected": False}}, "cluster.link.connected has nothing to act on: no KV cache is sent"),
    ({}, {"hand_off": {"overlap": "chunks"}}, "cluster.hand_off.overlap has nothing to act on: no replicas have"),
    ({}, {"hand_off": {"hold_s": 5.0}}, "cluster.hand_off.hold_s has nothing to act on: no replicas have roles"),
    ({}, {"migration": {"gpu_share": 0.5}}, "cluster.migration.gpu_share has nothing to act on: policy.migration is"),
    ({}, {"scaling": {"provision_s": 5.0}}, "cluster.scaling.provision_s has nothing to act on: policy.scaling is"),
    ({}, {"scaling": {"max_replicas": 5}}, "cluster.scaling.max_replicas has nothing to act on: policy.scaling is"),
    ({}, {"faults": {"events": [LINK]}}, "cluster.faults.events: a slow link has nothing to slow: no KV cache is"),
    ({}, {"faults": {"events": [{**CRASH, "factor": 9.0}]}}, "cluster.faults.events: the factor of a crash has"),
]  # fmt: skip
BUSY = [
    ({}, {}),
    ({"routing": "least_loaded"}, TWO),
    ({"migration": "llumnix"}, {**TWO, "link": {"latency_s": 0.001}, "migration": {"gpu_share": 0.1}}),
    ({}, {**POOLS, "link": {"latency_s": 0.001}, "hand_off": {"overlap": "chunks"}}),
    ({}, {"faults": {"events": [CRASH]}}),
]


def told(policy, cluster, workload):
    result = run(Scenario(policy=policy, cluster=cluster, workload=workload))
    return [text for text in warnings(result.manifest, result.summary()) if "has nothing to" in text]


@pytest.mark.parametrize(("policy", "cluster", "sentence"), IDLE)
def test_a_setting_without_effect_is_told(policy, cluster, sentence):
    (text,) = told(policy, cluster, WORKLOAD)
    assert text.startswith(sentence)


@pytest.mark.parametrize(("policy", "cluster"), BUSY)
def test_one_that_has_some_is_not(policy, cluster):
    assert told(policy, cluster, WORKLOAD) == []


def test_sessions_are_what_sessions_go_by():
    sessions = {**WORKLOAD, "session_turns": 2.0, "think_s": 0.1}
    assert told({"routing": "session_affinity"}, TWO, sessions) == []
    assert told({"routing": "prefix_affinity"}, TWO, sessions) == []


@pytest.mark.parametrize(
    ("scheduling", "speculation", "sentences"),
    [
        ("vllm_v1", {"confidence": 0.9}, ["speculation.confidence has nothing to act on: speculation.method is"]),
        ("vllm_v1", {"method": "eagle", "enable_adaptive_verification": True}, []),
        (
            "adaserve",
            {"method": "eagle", "enable_adaptive_verification": True},
            ["speculation.enable_adaptive_verification has nothing to choose: policy.scheduling = adaserve"],
        ),
    ],
)  # fmt: skip
def test_what_drafts_are_told_of_is_used_or_said_not_to_be(scheduling, speculation, sentences):
    result = run(Scenario(policy={"scheduling": scheduling}, speculation=speculation, workload=WORKLOAD))
    found = [text for text in warnings(result.manifest, result.summary()) if "has nothing to" in text]
    assert [text.startswith(sentence) for text, sentence in zip(found, sentences, strict=True)] == [
        True
    ] * len(found)
