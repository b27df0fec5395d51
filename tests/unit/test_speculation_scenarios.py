"""Speculative decoding in a scenario: what it may say, and what is refused in one sentence."""

import pytest

from simulator import InputError, Scenario, run


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
