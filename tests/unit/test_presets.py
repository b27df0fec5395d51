"""Presets: what they say, what goes before them, and that every output names them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.metrics import UserModel
from simulator.metrics._presets import PRESETS, STEADY, beside_preset
from simulator.report.report import report
from simulator.results.result import Result
from tests.commands import servesim

GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "v_s_per_token": st.sampled_from([0.05, 0.2, 0.7]),
        "alpha": st.sampled_from([2.5, 5.0]),
        "f": st.sampled_from(["linear", "step"]),
        "unserved": st.sampled_from(["asks_again", "wait_ends"]),
        "weight_input": st.sampled_from([0.0, 0.1]),
    },
)
NAMES = st.sampled_from(sorted(PRESETS))


def small(**user):
    return Scenario(
        engine={"num_gpu_blocks": 2000},
        workload={
            "arrivals": "poisson", "rate_rps": 4.0, "requests": 12, "prompt_tokens": 60, "output_tokens": 30
        },
        user=user,
    )  # fmt: skip


def test_the_papers_constants():
    """Section 5.2 of v2: 5 tokens/s and alpha = 2.5; v1: 20 tokens/s."""
    v2, v1, own = (UserModel(preset=name) for name in ("paper_v2", "paper_v1", "reader_20tps"))
    assert (v2.v_s_per_token, v2.alpha, v2.f, v2.origin) == (0.2, 2.5, "linear", "arrival")
    assert (v1.v_s_per_token, v1.alpha_tokens, v1.f, v1.origin) == (0.05, 20.0, "linear", "first_token")
    assert (own.v_s_per_token, own.alpha_tokens, own.f, own.origin) == (0.05, 20.0, "linear", "arrival")
    assert UserModel() == own


@given(NAMES, GIVEN)
def test_what_is_given_beside_a_preset_goes_before_it(name, given):
    user = UserModel(preset=name, **given)
    for key in STEADY:
        assert getattr(user, key) == given.get(key, getattr(UserModel(preset=name), key))


@given(NAMES, GIVEN)
def test_a_model_and_its_description_are_read_back(name, given):
    user = UserModel(preset=name, **given)
    assert UserModel(**vars(user)) == user
    assert UserModel(preset=name, **beside_preset(vars(user))) == user
    assert user.described.split(", ")[0] == name
    assert len(user.described.split(", ")) == 1 + len(beside_preset(vars(user)))


@given(NAMES, GIVEN, NAMES, GIVEN)
def test_another_preset_takes_its_values_back_and_keeps_those_beside_it(before, given, after, beside):
    scenario = Scenario(user={"preset": before, **given})
    changed = scenario.with_overrides(
        [*(f"user.{key}={value}" for key, value in beside.items()), f"user.preset={after}"]
    )
    assert changed.user == UserModel(preset=after, **{**beside_preset(vars(scenario.user)), **beside})


@given(NAMES, GIVEN)
def test_a_scenario_file_is_read_back(tmp_path_factory, name, given):
    path = tmp_path_factory.mktemp("presets") / "a.toml"
    scenario = small(preset=name, **given)
    path.write_text(scenario.to_toml())
    assert Scenario.from_toml(path).user == scenario.user


def test_it_is_described_in_words():
    user = UserModel(preset="paper_v2", alpha=5.0, origin="first_token")
    assert user.described == "paper_v2, alpha 5, origin first_token"
    assert UserModel(v_s_per_token=0.1).described == "reader_20tps, v_s_per_token 0.1"


def test_a_preset_that_there_is_not_is_refused():
    with pytest.raises(InputError, match=r"user\.preset must be one of reader_20tps, paper_v2"):
        Scenario(user={"preset": "paper_v3"})
    with pytest.raises(InputError, match=r"^--set user\.preset must be one of"):
        Scenario(user={"alpha": 1.0}).with_overrides(["user.preset=paper_v3"])


def test_every_output_names_it(tmp_path, capsys):
    result = run(small(preset="paper_v2", alpha=5.0))
    said = "paper_v2, alpha 5"
    assert result.summary()["smooth_goodput"]["user_model"] == said
    assert result.summary()["options"]["user"]["preset"] == "paper_v2"
    assert f"User model: {said}." in str(report(result.manifest, result.summary()))
    result.save(tmp_path / "saved")
    assert Result.load(tmp_path / "saved").user == UserModel(preset="paper_v2", alpha=5.0)
    shown = servesim(capsys, "show", tmp_path / "saved", "--set", "user.preset=paper_v1")
    assert "User model: paper_v1, alpha 5." in shown
    shown = servesim(
        capsys, "show", tmp_path / "saved", "--set", "user.preset=paper_v2", "--set", "user.alpha=none"
    )
    assert "User model: paper_v2." in shown
