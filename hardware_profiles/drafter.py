"""What guesses the next tokens in speculative decoding: its weights, its KV and its time, from the target's shape.

One TOML file a drafter (``drafters/*.toml``), found by its name; a user's own is a file of the same form, given by
path. A draft takes a pass of the drafter, k drafts take k of them, one after the other.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from hardware_profiles.files import load, profile_path, shipped_names
from hardware_profiles.model import Model
from hardware_profiles.sourced import Profile, Sourced
from hardware_profiles.step_cost import HardwareCost
from simulator.replica.cost import StepShape

MOST_KEPT = 1 << 16  # kinds of steps whose kernels are kept


class DraftCost(Sourced):
    """What drafting takes beside reading the drafter's weights and KV."""

    step_ms: float = Field(ge=0)  # of each step: preparing drafts, sampling with rejection
    pass_ms: float = Field(ge=0)  # of each draft: launches, sampling
    share_of_step: float = Field(ge=0)  # of what the target's step takes


class DrafterProfile(Profile):
    """One kind of drafter; every number has its source beside it in the file."""

    name: str
    description: str
    layers: int = Field(ge=0)  # of the target's kind
    inputs: int = Field(ge=0)  # hidden states that its first matrix joins
    vocabulary: int = Field(ge=0)  # rows of an lm_head of its own; 0: the target's
    own_embedding: bool
    lookahead: bool  # whether it keeps KV of its own, so that blocks for its drafts are held
    curve: str  # of ``policies/acceptance/curve.py``, where the scenario names no acceptance; "": none
    cost: DraftCost


def list_drafters() -> list[str]:
    """Return the names of the shipped drafters, sorted."""
    return shipped_names("drafters")


def load_drafter(name_or_path: str, base_dir: Path | None = None) -> DrafterProfile:
    """Return a shipped drafter by name, or the profile in a TOML file (relative to ``base_dir``).

    Raises InputError for an unknown name (with the nearest one) and for a malformed file (with the key).
    """
    also = "the path of a drafter's profile (.toml)"
    path = profile_path("drafters", "drafter", name_or_path, base_dir, list_drafters(), also)
    return load(DrafterProfile, path)


@dataclass(frozen=True)
class Drafter:
    """A drafter beside its target; bytes and arithmetic are those of one GPU of the replica."""

    profile: DrafterProfile
    weight_bytes: int = 0  # in memory, beside the target's own
    kv_bytes_per_token: int = 0
    read_bytes: float = 0.0  # weights that one pass reads; 0 for a model of its own, which is priced as one
    flop_per_token: float = 0.0  # of one pass


def drafter_on(
    profile: DrafterProfile, target: Model, tensor_parallel: int, own: Model | None = None
) -> Drafter:
    """Return a drafter: layers of the target's kind (EAGLE, MTP), a model of its ``own``, or nothing (n-gram)."""
    if own is not None:
        return Drafter(
            profile, own.weight_bytes_on(tensor_parallel), own.kv_bytes_per_token_on(tensor_parallel)
        )
    if not profile.layers:
        return Drafter(profile)
    hidden, value, share = (
        target.hidden_size,
        target.bytes_per_value,
        profile.layers / target.num_hidden_layers,
    )
    joined = profile.inputs * hidden * hidden
    head = hidden * (profile.vocabulary or target.vocab_size)
    kept = share * target.linear_parameters + joined + (head if profile.vocabulary else 0)
    kept += hidden * target.vocab_size if profile.own_embedding else 0
    read = share * target.active_linear_parameters + joined + head
    return Drafter(
        profile,
        int(kept * value / tensor_parallel),
        int(share * target.kv_bytes_per_token_on(tensor_parallel)),
        read * value / tensor_parallel,
        2 * read / tensor_parallel,
    )


class SpeculativeCost:
    """Step times with drafts: the target's step over decodes and drafts, and the drafter's passes after it.

    Drafts are tokens of the step to every matrix and the lm_head; attention reads a request's KV once for all of its
    tokens, as kernels for decodes do (with grouped queries, k + 1 tokens fill the rows of one tile). So a step of
    S decodes with D drafts takes ``step(S) + other_kernels(N + D, S + D) - other_kernels(N, S)``.
    """

    def __init__(self, target: HardwareCost, drafter: Drafter, own: HardwareCost | None = None) -> None:
        """``own`` prices the steps of a drafter that is a model of its own."""
        self.target, self.drafter, self.own = target, drafter, own
        fit, gpu = target.gpu.kernel_fit, target.gpu
        factor, cost = target.overheads.kernel_factor, drafter.profile.cost
        s_per_byte = factor / (fit.linear_bandwidth_efficiency * gpu.bandwidth_bytes_per_s)
        s_per_kv_byte = factor / (fit.kv_read_efficiency * gpu.bandwidth_bytes_per_s)
        s_per_flop = factor / (fit.linear_compute_efficiency * gpu.peak_flop_per_s)
        # Of one pass of a drafter that is no model of its own
        self._read_s = s_per_byte * drafter.read_bytes
        self._s_per_context_token = s_per_kv_byte * drafter.kv_bytes_per_token
        self._s_per_token = s_per_flop * drafter.flop_per_token
        self._step_s, self._share_of_step, self._pass_ms = (
            cost.step_ms * 1e-3,
            cost.share_of_step,
            cost.pass_ms,
        )
        self._per_sequence_ms = target.overheads.per_sequence_ms
        # What drafts add to the kernels beside attention, by tokens, sequences and drafts of a step
        self._added_s: dict[tuple[int, int, int], float] = {}

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of a step in seconds, drafting included."""
        step_s, drafts = self.target.step_s(shape), shape.draft_tokens
        seqs = shape.decode_seqs + shape.prefill_seqs
        if drafts:
            tokens = shape.decode_seqs + shape.prefill_tokens
            added_s = self._added_s.get((tokens, seqs, drafts))
            if added_s is None:
                added_s = self._kernels_of_drafts_s(tokens, seqs, drafts)
            step_s += added_s
            step_s -= drafts * self._per_sequence_ms * 1e-3  # they are no sequences
        if shape.draft_passes and seqs:
            step_s += self._drafting_s(shape, seqs, step_s)
        return step_s

    def _kernels_of_drafts_s(self, tokens: int, seqs: int, drafts: int) -> float:
        """Return what so many drafts add, attention aside, and keep it: many steps are alike."""
        other_s = self.target.other_kernels_s
        added_s = other_s(tokens + drafts, seqs + drafts) - other_s(tokens, seqs)
        if len(self._added_s) >= MOST_KEPT:
            self._added_s.clear()
        self._added_s[tokens, seqs, drafts] = added_s
        return added_s

    def _drafting_s(self, shape: StepShape, seqs: int, step_s: float) -> float:
        """Return the time of the drafter: the first pass over all tokens of the step, then one a draft.

        A beam search is as many tokens of each request wide; its KV is read once a pass all the same.
        """
        fixed_s = self._step_s + self._share_of_step * step_s
        passes = shape.draft_passes
        if self.own is not None:
            again = StepShape(decode_seqs=seqs * shape.draft_width, decode_context_tokens=_context(shape))
            return fixed_s + _first_s(self.own, shape) + (passes - 1) * self.own.step_s(again)
        read_s = self._read_s
        if not read_s:
            return fixed_s
        tokens = shape.decode_seqs + shape.draft_tokens + shape.prefill_tokens
        kv_s = self._s_per_context_token * (shape.decode_context_tokens + shape.prefill_context_tokens)
        first_s, again_s = self._s_per_token * tokens, self._s_per_token * seqs * shape.draft_width
        first_s = (first_s if first_s > read_s else read_s) + kv_s
        again_s = (again_s if again_s > read_s else read_s) + kv_s
        return fixed_s + passes * self._pass_ms * 1e-3 + first_s + (passes - 1) * again_s


def _first_s(own: HardwareCost, shape: StepShape) -> float:
    """Return the first pass of a draft model: prompts as the target's, and what was verified of each answer."""
    tokens, seqs = shape.decode_seqs + shape.prefill_tokens, shape.decode_seqs + shape.prefill_seqs
    more_s = own.other_kernels_s(tokens + shape.draft_tokens, seqs) - own.other_kernels_s(tokens, seqs)
    return own.step_s(shape) + more_s


def _context(shape: StepShape) -> int:
    """Tokens whose KV a pass reads."""
    return shape.decode_context_tokens + shape.prefill_context_tokens
