"""A serving engine as the simulator sees it: its rules, its defaults, and which fitted overheads are its own.

One TOML file an engine (``engines/*.toml``), found by its name; a user's own engine is a file of the same form, given
by path. A policy runs on any of them, and a comparison of policies on one.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from hardware_profiles.files import load, profile_path, shipped_names
from hardware_profiles.gpu import EngineOverheads, Gpu
from hardware_profiles.sourced import Profile, Sourced
from simulator.policy import Scheduler
from simulator.replica.rules import EngineRules

DEFAULT, NATIVE = "vllm-0.24", "native"


class Rules(Profile):
    """What ``simulator.replica.rules`` has, under the same names."""

    pipeline_depth: Literal[1, 2]
    null_blocks: int = Field(ge=0)
    overrun_tokens: int
    partial_blocks_first: bool
    recomputes_as_prefill: bool = False
    drops_with_next_token: bool = False


class Defaults(Profile):
    """What ``[engine]`` of a scenario is where the user sets nothing; unset limits are the GPU's."""

    block_size: int = Field(ge=1)
    # Of what gpu_memory_utilization is a share; SGLang's mem_fraction_static is that of weights and KV cache in all
    kv_memory: Literal["share of all", "share of free", "mem_fraction_static"]
    max_num_seqs: int | None = Field(None, ge=1)
    max_num_batched_tokens: int | None = Field(None, ge=1)
    sampler: Literal["pytorch", "flashinfer"] = (
        "flashinfer"  # which says how much memory a step's sampling takes
    )
    cuda_graphs_gib: float = Field(
        0.0, ge=0
    )  # of CUDA graphs, where the engine subtracts what it thinks they take
    seats_within_budget: bool = True  # whether it refuses more seats than a step has tokens


class Overheads(Profile):
    """Which blocks of a GPU's ``[engine_overheads]`` were fitted to this engine, and what to know about them."""

    fitted: list[str]
    step_by_step_too: bool = False  # where none were fitted to it planning like that, its others stand in
    note: str = ""
    unmeasured: str = ""  # what is known of them where none were fitted


class ChosenOverheads(NamedTuple):
    """The overheads of an engine on a GPU."""

    overheads: EngineOverheads
    measured: bool  # fitted to this engine, not another's that plans alike


class EngineProfile(Profile):
    """One engine; every number has its source beside it in the file."""

    name: str
    description: str
    rules: Rules
    defaults: Defaults
    overheads: Overheads
    evidence: Sourced

    @property
    def engine_rules(self) -> EngineRules:
        """What a replica is told."""
        return EngineRules(name=self.name, **self.rules.model_dump())

    def overheads_on(self, gpu: Gpu, *, ahead: bool, named: str | None = None) -> ChosenOverheads:
        """Return what the engine adds to the kernels on a GPU while it plans ahead, or step by step.

        That is the block that the user fitted or named, one that was fitted to this engine, or where there is
        none, the GPU's first of an engine that plans alike, with ``step_by_step_too`` this engine's other one.
        Raises InputError for an unknown name.
        """
        if named is not None:
            return ChosenOverheads(gpu.overheads(named), named in self.overheads.fitted)
        for name in ("fitted", *self.overheads.fitted):
            block = gpu.engine_overheads.get(name)
            if block is not None and block.asynchronous == ahead:
                return ChosenOverheads(block, measured=True)
        others = [
            gpu.engine_overheads[name] for name in self.overheads.fitted if name in gpu.engine_overheads
        ]
        if self.overheads.step_by_step_too and others:
            return ChosenOverheads(others[0], measured=False)
        return ChosenOverheads(gpu.overheads(asynchronous=ahead), measured=False)


def list_engines() -> list[str]:
    """Return the names of the shipped engine profiles, sorted."""
    return shipped_names("engines")


def load_engine(name_or_path: str, base_dir: Path | None = None) -> EngineProfile:
    """Return a shipped engine by name, or the profile in a TOML file (relative to ``base_dir``).

    Raises InputError for an unknown name (with the nearest one) and for a malformed file (with the key).
    """
    known, also = [*list_engines(), NATIVE], "the path of an engine profile (.toml)"
    path = profile_path("engines", "engine", name_or_path, base_dir, known, also)
    return load(EngineProfile, path)


def engine_of(profile: str, policy: Scheduler, base_dir: Path | None = None) -> EngineProfile:
    """Return the engine that serves a policy: the one named, or with "native" the one it is named after."""
    if profile == NATIVE:
        profile = policy.native_engine() or DEFAULT
    return load_engine(profile, base_dir)


def native_rules(policy: Scheduler) -> EngineRules:
    """Return the rules of the engine that a policy is named after."""
    return engine_of(NATIVE, policy).engine_rules
