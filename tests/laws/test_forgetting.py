"""Law: what is kept to save time, and forgotten to save memory, changes nothing."""

import pytest

from policies.scheduling.adaserve import Adaserve
from simulator.replica import draft_trees, outline, radix_tree, tree_engine
from tests.served import served

SESSIONS = {
    "arrivals": "poisson", "rate_rps": 20.0, "requests": 60, "prompt_tokens": 300, "output_tokens": 40,
    "session_turns": 4.0, "think_s": 0.1, "shared_prefixes": 3, "shared_prefix_tokens": 200,
}  # fmt: skip
ALONE = {key: value for key, value in SESSIONS.items() if not key.startswith(("session", "think", "shared"))}
DRAFTS = {"method": "eagle3", "num_speculative_tokens": 3}
SPREAD = {"acceptance": {"name": "rate", "rate": 0.6, "spread": 0.2}}


def tables(found):
    return {name: getattr(found.result, name)() for name in ("requests", "tokens", "steps")}


@pytest.mark.parametrize(
    ("kept", "scheduling", "more"),
    [
        ([(tree_engine, "MOST_KEPT"), (draft_trees, "MOST_KEPT")], "adaserve",
         {"workload": ALONE, "speculation": DRAFTS, "policy": SPREAD}),
        ([(radix_tree, "MOST_OUT_OF_DATE")], "sglang", {"workload": SESSIONS, "engine": {"num_gpu_blocks": 4000}}),
        ([(outline, "MOST_KEPT")], "vllm_v1",
         {"workload": SESSIONS | {"max_prompt_tokens": 4000}, "engine": {"num_gpu_blocks": 700}}),
    ],
    ids=["trees of drafts", "leaves of a radix tree", "outlines of prompts"],
)  # fmt: skip
def test_what_is_forgotten_at_once_changes_nothing(kept, scheduling, more, monkeypatch):
    usual = tables(served(scheduling, **more))
    for module, name in kept:
        monkeypatch.setattr(module, name, 1)
    assert tables(served(scheduling, **more)) == usual


AMPLE = {"engine": {"num_gpu_blocks": 4000, "max_model_len": 600}}


class BesideBlocks(Adaserve):
    """Trees of drafts beside a cache of blocks."""

    def prefix_cache(self):
        return "blocks"


@pytest.mark.parametrize("blocks", [4000, 150], ids=["ample", "tight"])
def test_a_cache_in_which_nothing_is_found_changes_nothing_for_trees(blocks):
    more = {
        "workload": ALONE,
        "speculation": DRAFTS,
        "engine": {"num_gpu_blocks": blocks, "max_model_len": 600},
    }
    plain, cached = (served(policy, **more) for policy in (Adaserve, BesideBlocks))
    assert (cached.requests["delivered_tokens"] == 40).all()
    verified = [each.summary["engine"]["verified_drafts"] for each in (plain, cached)]
    if blocks == 4000:
        assert tables(cached)["tokens"] == tables(plain)["tokens"]
        assert verified[0] == verified[1]
    else:
        assert verified[1] < served(BesideBlocks, **more | AMPLE).summary["engine"]["verified_drafts"]
