"""Whether a scenario's traffic goes together with its pools, readers and policies: one sentence where it does not."""

import numpy as np

from simulator.errors import InputError
from simulator.scenario.discover import load
from simulator.scenario.resolve import ResolvedPool
from simulator.scenario.scenario import Scenario
from simulator.workload import Workload


def check_lengths(scenario: Scenario, workload: Workload, pools: list[ResolvedPool]) -> None:
    """Refuse prompts that are too long for the pools; where those are unlike, for all of them."""
    pick = max if scenario.cluster.pools else min
    server = pick(pools, key=lambda each: each.limits.max_model_len)
    limits = server.limits
    too_long = workload.prompt_tokens >= limits.max_model_len
    if too_long.any():
        spec = scenario.workload
        keys = ("classes", "trace", "lengths", "prompt_tokens")
        key = next(key for key in keys if getattr(spec, key) is not None)
        given = ", ".join(spec.classes) if spec.classes is not None else getattr(spec, key)
        first, count = int(np.argmax(too_long)), int(too_long.sum())
        leaves_out = key == "trace" or spec.session_turns is not None
        raise InputError(
            f"workload.{key} {given}: request {first} has a prompt of"
            f" {workload.prompt_tokens[first]} tokens"
            + (f" (as have {count - 1} others too long)" if count > 1 else "")
            + f"; expected fewer than max_model_len = {limits.max_model_len} (the model's limit is"
            f" {server.model.max_position_embeddings}, the KV cache holds {server.capacity.tokens} tokens)"
            + ("; workload.max_prompt_tokens leaves such requests out" if leaves_out else "")
        )


def check_models(scenario: Scenario, workload: Workload, pools: list[ResolvedPool]) -> None:
    """Refuse requests that ask for a model that is not served; where all replicas are alike, none is looked at."""
    served = list(dict.fromkeys(each.model.name for each in pools))
    for number, name in enumerate(workload.model_names if scenario.cluster.pools else ()):
        asked = workload.optional["model"] == number
        if name not in served and asked.any():
            raise InputError(
                f"{workload.name}: request {int(np.argmax(asked))} asks for model {name!r}, which no pool serves;"
                f" expected one of {', '.join(served)}"
            )


def check_horizon(scenario: Scenario, workload: Workload) -> None:
    """Refuse a horizon before the first arrival."""
    horizon_s, first_s = scenario.run.horizon_s, float(workload.arrival_s[0])
    if horizon_s is not None and horizon_s < first_s:
        raise InputError(
            f"run.horizon_s: {horizon_s:g} s is before anything arrives; expected more than {first_s:g} s"
        )


def check_readers(scenario: Scenario, workload: Workload) -> None:
    """Refuse readers that the scenario's user model has no value for."""
    own_s = workload.optional.get("v_s_per_token")
    if own_s is not None and scenario.user.alpha is None and (own_s == 0).any():
        raise InputError(
            f"user.alpha: unset with readers whose V is 0 (request {int(np.argmax(own_s == 0))} of the traffic);"
            " expected a number, as its default, 1/V, has no value there"
        )
    if "first_token_allowance_s" in workload.optional and scenario.user.origin == "first_token":
        raise InputError(
            "user.origin: 'first_token' with readers that have an S (first_token_allowance_s) of their own; expected"
            " 'arrival'"
        )


def check_delivery(scenario: Scenario, workload: Workload) -> None:
    """Refuse delivery that clients of a closed loop would have to wait for."""
    closed = workload.concurrency is not None or workload.think_s is not None
    if closed and scenario.policy.delivery.name != "immediate":
        raise InputError(
            f"policy.delivery: {scenario.policy.delivery.name!r} with a closed loop, whose clients would have to"
            " wait for it; expected 'immediate'"
        )


def check_quality(scenario: Scenario, pools: list[ResolvedPool]) -> None:
    """Refuse routers that weigh quality or have requests asked again where it is not known of all pools."""
    routing = scenario.policy.routing.name
    router = load("routing", routing)
    weighs, cascades = getattr(router, "weighs_quality", False), getattr(router, "cascades", False)
    names = scenario.cluster.pools or {}
    unknown = next((each.name for each in pools if each.quality is None or not each.usd_per_request), None)
    if (weighs or cascades) and (unknown is not None or not names):
        where = f"cluster.pools.{unknown}" if unknown else "cluster.pools"
        raise InputError(
            f"policy.routing: {routing!r} weighs the quality of models; expected quality and usd_per_request in {where}"
        )
    some = [each.name for each in pools if each.quality is None]
    if some and len(some) < len(pools):
        raise InputError(f"cluster.pools.{some[0]}.quality: missing; expected in all pools, or in none")
    for kind in ("abandonment", "delivery"):
        name, usual = (
            getattr(scenario.policy, kind).name,
            {"abandonment": "none", "delivery": "immediate"}[kind],
        )
        if cascades and name != usual:
            raise InputError(
                f"policy.{kind}: {name!r} with routing {routing!r}, whose first answers no reader sees; expected"
                f" {usual!r}"
            )
