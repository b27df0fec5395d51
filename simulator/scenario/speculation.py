"""Speculative decoding of a scenario: who drafts how many tokens, how many are right, and what that costs."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from simulator.errors import InputError, under_key
from simulator.replica.speculation import MOST_DRAFTS, Speculation
from simulator.rng import stream
from simulator.scenario.discover import complete, load
from simulator.scenario.engine import AtLeastOne, Section
from simulator.scenario.policy import IDLE_POLICY, PolicyChoice

if TYPE_CHECKING:
    from hardware_profiles import HardwareCost, Model
    from hardware_profiles.drafter import Drafter
    from simulator.replica.cost import CostModel
    from simulator.replica.policy import Scheduler
    from simulator.scenario.scenario import Scenario

NO_METHOD = "none"
NGRAM = "ngram"
OWN_MODEL = "draft_model"  # the drafter that is a model of its own

Drafts = Annotated[int, Field(ge=0, le=MOST_DRAFTS)]


class SpeculationSpec(Section):
    """Drafts of the next tokens, which a step verifies together; the keys are vLLM's."""

    method: str = Field(
        NO_METHOD,
        description="none, ngram, eagle, eagle3, mtp, draft_model, or the path of a drafter's profile (.toml)",
    )
    num_speculative_tokens: Drafts = Field(
        3, description="drafts of each decoding request in a step; 0: none"
    )
    num_speculative_tokens_per_batch_size: list[tuple[AtLeastOne, Drafts]] = Field(
        [],
        description="instead, pairs [decoding requests up to which, drafts], rising; above the last: none",
    )
    enable_adaptive_verification: bool = Field(
        False,
        description="verify only the drafts that pay, the likeliest of all requests first; not with ngram",
    )
    confidence: float = Field(
        0.5,
        ge=0,
        le=1,
        description="how well it knows its right drafts: 0 not at all, 1 exactly; for trees and adaptive verification",
    )
    later_guess: float = Field(
        0.4,
        ge=0,
        le=1,
        description="share of what a drafter misses at a place that its next guess there hits; for trees",
    )
    draft_model: str | None = Field(
        None, description="the small model of method draft_model, as hardware.model"
    )

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, given: Any) -> Any:
        key = "num_speculative_tokens_per_batch_size"
        if not isinstance(given, dict) or key not in given:
            return given
        pairs = given[key]
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs
        ):
            raise InputError(
                f"speculation.{key}: expected pairs [requests up to which, drafts] such as [[16, 5], [64, 3]], got"
                f" {pairs!r:.60}"
            )
        return {**given, key: [tuple(pair) for pair in pairs]}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        pairs = self.num_speculative_tokens_per_batch_size
        if any(before[0] >= after[0] for before, after in itertools.pairwise(pairs)):
            raise InputError(
                "speculation.num_speculative_tokens_per_batch_size: expected rising numbers of requests, got"
                f" {', '.join(str(most) for most, _ in pairs)}"
            )
        if (self.method == OWN_MODEL) != (self.draft_model is not None):
            raise InputError(
                f"speculation.draft_model: expected the name of a model with method {OWN_MODEL!r}, and none with"
                f" another; method is {self.method!r}"
            )
        if self.enable_adaptive_verification and self.method == NGRAM:
            raise InputError(
                "speculation.enable_adaptive_verification: expected a drafter that says how sure it is, as a model"
                f" does; method is {self.method!r}"
            )
        return self

    @property
    def on(self) -> bool:
        """Whether anything is ever drafted."""
        pairs = self.num_speculative_tokens_per_batch_size
        some = any(drafts for _, drafts in pairs) if pairs else bool(self.num_speculative_tokens)
        return self.method != NO_METHOD and some


def drafter_of(
    spec: SpeculationSpec, target: "Model", tensor_parallel: int, base_dir: Path | None
) -> "tuple[Drafter, Model | None]":
    """Return the drafter of a scenario beside its target, and its model where it is one of its own.

    Raises InputError where there is none of that name, and where the two models do not share a vocabulary.
    """
    from hardware_profiles import load_model
    from hardware_profiles.drafter import drafter_on, load_drafter

    profile = under_key("speculation.method", lambda: load_drafter(spec.method, base_dir))
    name = spec.draft_model
    if name is None:
        return drafter_on(profile, target, tensor_parallel), None
    own = under_key("speculation.draft_model", lambda: load_model(name, base_dir))
    if own.vocab_size != target.vocab_size:
        raise InputError(
            f"speculation.draft_model: {own.name} has {own.vocab_size} tokens in its vocabulary and {target.name}"
            f" {target.vocab_size}; expected a model with the same tokens"
        )
    return drafter_on(profile, target, tensor_parallel, own), own


def cost_with_drafts(target: "HardwareCost", drafter: "Drafter", own: "Model | None") -> "CostModel":
    """Return what steps take with drafts; ``own`` is the drafter's model."""
    from hardware_profiles import step_cost
    from hardware_profiles.drafter import SpeculativeCost

    if own is None:
        return SpeculativeCost(target, drafter)
    small = step_cost(target.gpu, own, "auto", target.tensor_parallel, target.overheads)
    return SpeculativeCost(target, drafter, small)


def speculation_of(scenario: "Scenario", drafter: "Drafter", scheduler: "Scheduler") -> Speculation:
    """Return what the engine is told; the drafter's own curve stands for an acceptance that is not chosen.

    Raises InputError where there is neither, and for adaptive verification under a policy that has no steps for it.
    """
    spec, chosen, curve = scenario.speculation, scenario.policy.acceptance, drafter.profile.curve
    if spec.enable_adaptive_verification and scheduler.splits_sms():
        raise InputError(
            f"speculation.enable_adaptive_verification: policy.scheduling = {scenario.policy.scheduling.name} splits"
            " SMs, and has no step that is trimmed; expected another policy"
        )
    if chosen.name == IDLE_POLICY["acceptance"] and curve:
        chosen = PolicyChoice(name="curve", params=complete("acceptance", "curve", {"text": curve}))
    elif chosen.name == IDLE_POLICY["acceptance"] and not curve:
        raise InputError(
            f"policy.acceptance: nothing says how many drafts of {drafter.profile.name} are right; expected one of"
            " rate, curve, by_position, recorded beside it"
        )
    found = Speculation(
        load("acceptance", chosen.name)(**chosen.params),
        spec.num_speculative_tokens,
        spec.num_speculative_tokens_per_batch_size,
        lookahead=drafter.profile.lookahead,
        adaptive=spec.enable_adaptive_verification,
        seed=int(stream(scenario.seed, "speculation").integers(2**63)),
        confidence=spec.confidence,
        later_guess=spec.later_guess,
    )
    if found.adaptive:
        _ = found.chances_of  # refused now, where there are none
    return found
