"""Speculative decoding in a scenario: what it may say, and what is refused in one sentence."""

import pytest

from simulator import InputError, Scenario, run
from simulator.scenario.resolve import resolve_pool


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"speculation": {"method": "eegle"}},
            "^speculation.method: unknown drafter 'eegle'.*did you mean 'eagle'",
        ),
        ({"speculation": {"method": "draft_model"}}, "speculation.draft_model"),
        (
            {
                "speculation": {"method": "draft_model", "draft_model": "qwen3-8b"},
                "policy": {"acceptance": "rate"},
            },
            "vocabulary",
        ),
        (
            {"speculation": {"method": "draft_model", "draft_model": "llama-3.1-8b"}},
            "nothing says how many drafts",
        ),
        ({"speculation": {"method": "eagle", "num_speculative_tokens": 40}}, "num_speculative_tokens"),
        (
            {"speculation": {"method": "eagle", "num_speculative_tokens_per_batch_size": [8, 3]}},
            r"per_batch_size: expected pairs .* such as \[\[16, 5\], \[64, 3\]\], got \[8, 3\]",
        ),
        (
            {"speculation": {"method": "ngram", "enable_adaptive_verification": True}},
            "^speculation.enable_adaptive_verification: expected a drafter that says how sure",
        ),
        (
            {
                "speculation": {"method": "eagle", "enable_adaptive_verification": True},
                "policy": {"scheduling": "muxwise"},
            },
            "^speculation.enable_adaptive_verification: policy.scheduling = muxwise splits SMs",
        ),
        (
            {"speculation": {"method": "draft_model", "draft_model": "nope"}},
            "^speculation.draft_model: unknown model",
        ),
        (
            {"speculation": {"method": "eagle", "num_speculative_tokens_per_batch_size": [[8, 3], [4, 1]]}},
            "expected rising numbers",
        ),
    ],
)
def test_wrong_scenarios_are_refused(tables, said):
    traffic = {"arrivals": "constant", "rate_rps": 1, "requests": 2, "prompt_tokens": 5, "output_tokens": 5}
    with pytest.raises(InputError, match=said):
        run(Scenario(workload=traffic, **tables))


def test_a_scenario_with_pairs_goes_through_toml(tmp_path):
    pairs = [[16, 5], [32, 4], [64, 3]]
    scenario = Scenario(
        speculation={"method": "eagle3", "num_speculative_tokens_per_batch_size": pairs},
    )
    (tmp_path / "s.toml").write_text(scenario.to_toml())
    assert Scenario.from_toml(tmp_path / "s.toml").speculation == scenario.speculation


@pytest.mark.parametrize(("accepted", "steps"), [(1e-9, [1, 1, 1, 1]), (1.0, [1, 1])])
def test_after_an_answers_end_it_decodes_only_where_the_end_could_not_be_known(accepted, steps):
    """An engine that plans ahead knows that one token was the last; of several it may have got fewer."""
    alone = {"arrivals": "constant", "rate_rps": 1, "requests": 1, "prompt_tokens": 50, "output_tokens": 5}
    drafts = {"method": "eagle", "num_speculative_tokens": 3}
    acceptance = {"name": "rate", "rate": accepted}
    made = run(Scenario(workload=alone, speculation=drafts, policy={"acceptance": acceptance}))
    table = made.steps()
    assert [n for n in table["decode_seqs"].to_pylist() if n] == steps


def test_what_pays_is_not_known_where_a_rule_says_no_chances(tmp_path):
    (tmp_path / "half.py").write_text(
        "class Half:\n    def verify(self, answer, generated, wanted):\n        return wanted, wanted // 2\n"
    )
    drafts = {"method": "eagle", "enable_adaptive_verification": True}
    with pytest.raises(InputError, match=r"^policy\.acceptance: Half says nothing of how likely"):
        resolve_pool(Scenario(speculation=drafts, policy={"acceptance": f"{tmp_path}/half.py"}))


def adapted(**more):
    """A server with more clients than drafts pay for, each with up to five drafts."""
    crowd = {"arrivals": "burst", "requests": 128, "prompt_tokens": 100, "output_tokens": 60}
    drafts = {"method": "eagle3", "num_speculative_tokens": 5, **more}
    return run(Scenario(workload=crowd, speculation=drafts)).summary()


def test_verifying_what_pays_gives_more_under_load_than_a_fixed_number_or_none():
    fixed, trimmed = adapted(), adapted(enable_adaptive_verification=True)
    none = adapted(num_speculative_tokens=0)
    rates = [each["throughput"]["output_tokens_per_s"] for each in (trimmed, fixed, none)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.02 * rates[1]
    mine, other = trimmed["engine"], fixed["engine"]
    assert mine["verified_drafts"] < 0.8 * other["verified_drafts"]
    assert mine["wasted_drafts"] < 0.7 * other["wasted_drafts"]
    assert other["draft_acceptance"] > mine["draft_acceptance"]  # what is not verified counts as rejected


def test_the_surer_the_drafter_the_less_is_verified_in_vain():
    """One that knows has none but right drafts verified; one that knows nothing cuts all requests alike."""
    shares = [
        adapted(enable_adaptive_verification=True, confidence=confidence)["engine"]
        for confidence in (0.0, 0.5, 1.0)
    ]
    wasted = [each["wasted_drafts"] / each["verified_drafts"] for each in shares]
    assert wasted[0] > wasted[1] > wasted[2] == 0
