"""How many tokens of KV cache fit: the sum that vLLM does at start-up, done from shapes.

    KV bytes = memory · gpu_memory_utilization - weights - their padding - activation peak - context - CUDA graphs

vLLM measures the activation peak with a dummy step of ``max_num_batched_tokens`` tokens followed by a
dummy sampling of ``max_num_seqs`` sequences; here it is the larger of

    layers   T · (4·h + 3·I/tp) · 2 bytes     hidden states and residual in and out, gate and up
                                              projections and their product, all alive in the MLP
    sampler  S · V · b bytes + T · h · 2      float32 logits and what sampling makes of them, while the
                                              step's hidden states are kept

with T tokens, S = min(max_num_seqs, T) sequences, and b by sampler: 40 with PyTorch's, which sorts the logits
(peaks that V0 printed give 38.6, 39.2, 39.9 and 41: an A10G with Qwen2.5-1.5B; vllm-project/vllm#13882, #10511),
16 with FlashInfer's, which does not (flashinfer-ai/flashinfer#1180 measures 1.5 GiB of pool between the two). What
CUDA graphs take is subtracted where the engine does that. Against sizes printed by vLLM 0.15.1 on H100 the
formula is within 0.5 % (Llama-2-7B, CodeLlama-34B TP2, Llama-2-70B TP4). For llama-3.1-8b and
qwen-2.5-14b it gives 443k and 225k tokens with the H100 defaults (8192 tokens, 1024 sequences).
"""

from typing import Literal, NamedTuple

from hardware_profiles.gpu import GIB, Gpu
from hardware_profiles.model import Model
from hardware_profiles.quantisation.padding import padding_bytes
from hardware_profiles.quantisation.stored import stored
from simulator.errors import DoesNotFitError, InputError
from simulator.replica.limits import FixedKv

Sampler = Literal["pytorch", "flashinfer"]
SAMPLER_BYTES_PER_LOGIT: dict[Sampler, int] = {"pytorch": 40, "flashinfer": 16}
_STATE_BLOCK_BYTES = 4096  # of a block where requests hold a state and no growing KV cache


class KvCapacity(NamedTuple):
    """The memory sum of one GPU of a replica, term by term, and the KV blocks that it leaves.

    ``num_blocks`` counts what vLLM calls ``num_gpu_blocks``; V1 keeps one of them as its null block, which
    is the scheduler's business. ``overridden`` marks a ``num_blocks`` given by the user, not by the sum.
    """

    gpu_name: str
    model_name: str
    memory_bytes: int
    gpu_memory_utilization: float
    weight_bytes: int
    activation_bytes: int
    context_bytes: int
    cuda_graph_bytes: int
    kv_bytes_per_token: int
    block_size: int
    num_blocks: int
    overridden: bool
    stored: str = ""  # how weights and KV cache are, where they are quantised
    padding_bytes: int = 0  # of the weights, for the kernels that multiply them
    drafter_bytes: int = 0  # weights of what guesses tokens in speculative decoding
    share_of_free: bool = False  # the utilisation is that of what is left beside weights and activations
    growing_bytes_per_token: int = 0  # of kv_bytes_per_token, what is kept to a request's end
    fixed_kv: FixedKv | None = None  # what a running request holds beside that, in blocks

    @property
    def budget_bytes(self) -> int:
        """What the engine may use: memory times utilisation, or with a share of what is free all of it."""
        return int(self.memory_bytes * (1 if self.share_of_free else self.gpu_memory_utilization))

    @property
    def reserve_bytes(self) -> int:
        """Everything in the budget that is neither weights nor KV cache."""
        others = self.context_bytes + self.cuda_graph_bytes + self.drafter_bytes + self.padding_bytes
        return self.activation_bytes + others

    @property
    def kv_bytes(self) -> int:
        """What the sum leaves for the KV cache, before rounding down to blocks."""
        free = self.budget_bytes - self.weight_bytes - self.reserve_bytes
        return int(free * self.gpu_memory_utilization) if self.share_of_free else free

    @property
    def block_bytes(self) -> int:
        """Bytes of one block: of its tokens, what is kept to a request's end."""
        return self.block_size * self.growing_bytes_per_token or _STATE_BLOCK_BYTES

    @property
    def tokens(self) -> int:
        """Tokens in all blocks."""
        return self.num_blocks * self.block_size

    def longest_request_tokens(self, usable_blocks: int, most_tokens: int) -> int:
        """Return the tokens of the longest request that fits so many blocks, what it holds beside them included."""
        if self.fixed_kv is None:
            return usable_blocks * self.block_size
        beside = self.fixed_kv.blocks(min(most_tokens, usable_blocks * self.block_size), self.block_size)
        return max(0, usable_blocks - beside) * self.block_size

    def lines(self) -> list[str]:
        """Return the sum as aligned lines of text, for a printout."""
        share, free = f"(x {self.gpu_memory_utilization:g})", self.share_of_free
        rows = [
            (f"{self.gpu_name} memory", self.memory_bytes / GIB),
            *([] if free else [(f"usable {share}", self.budget_bytes / GIB)]),
            (f"- weights of {self.model_name}", -self.weight_bytes / GIB),
            *([("- their padding", -self.padding_bytes / GIB)] if self.padding_bytes else []),
            *([("- weights of the drafter", -self.drafter_bytes / GIB)] if self.drafter_bytes else []),
            *([("- activation peak", -self.activation_bytes / GIB)] if self.activation_bytes else []),
            ("- context and communication", -self.context_bytes / GIB),
            ("- CUDA graphs", -self.cuda_graph_bytes / GIB),
            (f"= KV cache{f', of what is free {share}' if free else ''}", self.kv_bytes / GIB),
        ]
        text = [f"{label:<34}{gib:>9.2f} GiB" for label, gib in rows]
        given = " (given by num_gpu_blocks, not by this sum)" if self.overridden else ""
        text += [self.stored] if self.stored else []
        blocks = f"{self.num_blocks:,} blocks of {self.block_size} tokens = {self.tokens:,} tokens"
        if self.fixed_kv is None:
            return [*text, f"{blocks} at {self.kv_bytes_per_token / 1024:g} KiB{given}"]
        held = self.fixed_kv.blocks(10**9, self.block_size)
        text.append(f"{blocks} at {self.growing_bytes_per_token / 1024:g} KiB{given}")
        text.append(
            f"and {held:,} blocks ({held * self.block_bytes / 2**20:.1f} MiB) a request for windows and states,"
            " fewer if it is short"
        )
        return text

    def explain(self) -> str:
        """Return ``lines()`` as one string."""
        return "\n".join(self.lines())


def kv_capacity(
    gpu: Gpu,
    model: Model,
    *,
    gpu_memory_utilization: float = 0.9,
    block_size: int = 16,
    max_num_batched_tokens: int | None = None,
    max_num_seqs: int | None = None,
    tensor_parallel: int = 1,
    num_gpu_blocks: int | None = None,
    share_of_free: bool = False,
    drafter_bytes: int = 0,
    drafter_kv_bytes_per_token: int = 0,
    sampler: Sampler = "flashinfer",
    cuda_graphs_gib: float | None = None,
    activations_outside: bool = False,
) -> KvCapacity:
    """Return the KV cache of a replica of ``model`` on ``tensor_parallel`` GPUs, with every term of the sum.

    The two limits default to what the engine sets on this GPU. ``num_gpu_blocks`` replaces the computed
    number of blocks (as vLLM's override does) and is marked as such. With ``share_of_free`` the utilisation is
    a share of what weights and activations leave, as TensorRT-LLM has it; with ``activations_outside`` they need none
    of it, as SGLang has it. ``cuda_graphs_gib`` replaces what the GPU's profile has. What a drafter keeps beside the
    model, in bytes of one GPU, is taken from the same memory. Raises InputError for a value out of range and, with the
    sum shown, for a model that does not fit.
    """
    tokens = _positive("max_num_batched_tokens", max_num_batched_tokens, gpu.default_max_num_batched_tokens)
    seqs = _positive("max_num_seqs", max_num_seqs, gpu.default_max_num_seqs)
    _positive("block_size", block_size, block_size)
    _positive("tensor_parallel", tensor_parallel, tensor_parallel)
    if not 0 < gpu_memory_utilization <= 1:
        raise InputError(
            f"gpu_memory_utilization must be above 0 and at most 1, got {gpu_memory_utilization}"
        )
    model.check_heads(tensor_parallel)
    reserve = gpu.memory_reserve
    context_gib = reserve.context_gib + (reserve.tensor_parallel_gib if tensor_parallel > 1 else 0.0)
    capacity = KvCapacity(
        gpu_name=gpu.name,
        model_name=model.name,
        memory_bytes=gpu.memory_bytes,
        gpu_memory_utilization=gpu_memory_utilization,
        weight_bytes=model.weight_bytes_on(tensor_parallel),
        activation_bytes=0
        if activations_outside
        else _activation_bytes(model, tokens, seqs, tensor_parallel, sampler),
        context_bytes=int(context_gib * GIB),
        cuda_graph_bytes=int((reserve.cuda_graphs_gib if cuda_graphs_gib is None else cuda_graphs_gib) * GIB),
        kv_bytes_per_token=model.kv_bytes_per_token_on(tensor_parallel) + drafter_kv_bytes_per_token,
        block_size=block_size,
        num_blocks=0,
        overridden=num_gpu_blocks is not None,
        stored=stored(gpu, model),
        padding_bytes=padding_bytes(gpu, model, tensor_parallel),
        drafter_bytes=drafter_bytes,
        share_of_free=share_of_free,
        growing_bytes_per_token=_growing_bytes(model, tensor_parallel) + drafter_kv_bytes_per_token,
    )
    capacity = capacity._replace(fixed_kv=_fixed_kv(model, tensor_parallel, capacity))
    blocks = capacity.kv_bytes // capacity.block_bytes
    if blocks < 1:
        raise DoesNotFitError(
            f"model {model.name} does not fit {gpu.name}: weights {capacity.weight_bytes / GIB:.1f} GiB"
            f" + reserve {capacity.reserve_bytes / GIB:.1f} GiB leave no room for KV cache in"
            f" {capacity.budget_bytes / GIB:.1f} GiB"
            + (
                f" = {gpu_memory_utilization:g} x {gpu.memory_bytes / GIB:.1f} GiB"
                if not share_of_free
                else ""
            )
        )
    return capacity._replace(num_blocks=_positive("num_gpu_blocks", num_gpu_blocks, blocks))


def _growing_bytes(model: Model, tensor_parallel: int) -> int:
    """Return the KV bytes of a token that are kept to the end; all of them where every layer has a window.

    With a window in every layer nothing would grow, and blocks would count nothing: such models (Mistral-7B-v0.1)
    are counted as if they kept everything.
    """
    grows = {cache: n for cache, n in model.caches.items() if not cache.window} or model.caches
    return int(sum(model.cache_bytes(cache, tensor_parallel) * n for cache, n in grows.items()))


def _fixed_kv(model: Model, tensor_parallel: int, capacity: KvCapacity) -> FixedKv | None:
    """Return what a running request holds beside its growing blocks, in these; None: nothing."""
    shares: dict[int, float] = {}
    if any(not cache.window for cache in model.caches):
        for cache, n in model.caches.items():
            if cache.window:
                each = model.cache_bytes(cache, tensor_parallel) * n * capacity.block_size
                shares[cache.window] = shares.get(cache.window, 0.0) + each / capacity.block_bytes
    state = model.state_bytes / tensor_parallel / capacity.block_bytes
    windows = tuple(sorted(shares.items()))
    return FixedKv(state, windows) if windows or state else None


def _positive(name: str, value: int | None, default: int) -> int:
    chosen = default if value is None else value
    if chosen < 1:
        raise InputError(f"{name} must be at least 1, got {chosen}")
    return chosen


def _activation_bytes(model: Model, tokens: int, seqs: int, tensor_parallel: int, sampler: Sampler) -> int:
    width = model.bytes_per_value
    layers = tokens * (4 * model.hidden_size + model.mlp_width // tensor_parallel) * width
    logits = min(seqs, tokens) * model.vocab_size * SAMPLER_BYTES_PER_LOGIT[sampler]
    return max(layers, logits + tokens * model.hidden_size * width)


def resolve_max_model_len(model: Model, kv_tokens: int, requested: int | None) -> int:
    """Return the longest sequence (prompt plus output, tokens) that the engine will serve.

    Without a request: the model's own limit, cut to the KV cache. Raises InputError if ``requested`` is
    below 1, above the model's limit and its config's ``model_max_length``, or more than the ``kv_tokens`` of the cache
    (vLLM refuses to start).
    """
    limit = model.max_position_embeddings
    if requested is None:
        return min(limit, kv_tokens)
    if requested < 1:
        raise InputError(f"max_model_len must be at least 1, got {requested}")
    if requested > max(limit, model.model_max_length):
        raise InputError(
            f"max_model_len = {requested} is more than the {limit} positions of {model.name}"
            " (max_position_embeddings, with its rope_scaling)"
        )
    if requested > kv_tokens:
        raise DoesNotFitError(
            f"max_model_len = {requested} is more than the {kv_tokens} tokens that the KV cache holds;"
            " lower it, raise gpu_memory_utilization or give more num_gpu_blocks"
        )
    return requested
