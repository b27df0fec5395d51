"""Decoders with grouped-query attention whose MLPs are experts, in all layers or in some.

Shapes that no config says are the models' code (transformers 4.57, ``models/*/modeling_*.py``; vLLM 0.11 for MiniMax,
MiMo and Step).
"""

from typing import Any

from pydantic import AliasChoices, Field

from hardware_profiles.architectures.config import DecoderConfig, ExpertConfig, Family
from hardware_profiles.layers import Layer, LayerPart, attention, experts, mlp

_WS = ("w1", "w3", "w2")  # how Mixtral's checkpoints call gate, up and down


class MixtureConfig(ExpertConfig):
    """A mixture in every layer, or in every n-th but some; with or without an expert that is always used."""

    decoder_sparse_step: int = Field(default=1, ge=1)
    mlp_only_layers: list[int] | None = None
    shared_expert_intermediate_size: int | None = Field(
        default=None,
        validation_alias=AliasChoices("shared_expert_intermediate_size", "shared_intermediate_size"),
    )
    first_k_dense_replace: int = 0
    n_shared_experts: int | None = None
    use_qk_norm: bool | None = None
    use_routing_bias: bool = False
    attn_type_list: list[int] | None = None

    def is_mixture(self, index: int) -> bool:
        """Return whether a layer's MLP is a mixture."""
        if index in (self.mlp_only_layers or ()) or index < self.first_k_dense_replace:
            return False
        return (index + 1) % self.decoder_sparse_step == 0

    def check(self) -> None:
        """Raise InputError for experts that cannot be, and for layers without softmax attention."""
        super().check()
        _ = self.routed
        other = next((kind for kind in self.attn_type_list or () if kind != 1), None)
        if other is not None:
            self.refuse("attn_type_list", other, "shows linear attention, which is not supported yet here")


def _layers(
    config: MixtureConfig,
    *,
    qkv_bias: bool | None = None,
    output_bias: bool | None = None,
    others: int = 0,
    shared_gate: bool = False,
    norm_bias: bool = False,
    module: str = "mlp",
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    windowed: bool = True,
) -> list[Layer]:
    hidden, heads, kv_heads, dim = (
        config.hidden_size, config.num_attention_heads, config.kv_heads, config.key_dim
    )  # fmt: skip
    count, active = config.routed
    shared = None
    if config.shared_expert_intermediate_size:
        name = "shared_expert" if shared_gate else "shared_experts"
        shared = mlp(hidden, config.shared_expert_intermediate_size, module=f"{module}.{name}")
    elif config.n_shared_experts:
        shared = mlp(hidden, config.n_shared_experts * config.expert_width, module=f"{module}.shared_experts")
    bias = config.attention_bias
    picked = experts(
        hidden, config.expert_width, count, active, shared=shared, shared_gate=shared_gate and shared is not None,
        others=count if config.use_routing_bias else 0, module=module, names=names,
    )  # fmt: skip
    dense = mlp(hidden, config.intermediate_size)
    return [
        Layer(
            config.layer(index),
            (
                attention(
                    hidden, heads, kv_heads, dim, window=window, others=others,
                    qkv_bias=bias if qkv_bias is None else qkv_bias,
                    output_bias=bias if output_bias is None else output_bias,
                ),
                picked if config.is_mixture(index) else dense,
            ),
            2 * hidden * (2 if norm_bias else 1),
        )
        for index, window in enumerate(config.windows(lambda index: windowed))
    ]  # fmt: skip


def _head_norms(config: DecoderConfig) -> int:
    return 2 * config.key_dim


def _whole_norms(config: DecoderConfig) -> int:
    return (config.num_attention_heads + config.kv_heads) * config.key_dim


def _glm4(config: MixtureConfig) -> list[Layer]:
    config = config.model_copy(update={"use_routing_bias": True})
    return _layers(config, output_bias=False, others=_head_norms(config) if config.use_qk_norm else 0)


class GptOssConfig(ExpertConfig):
    """GPT-OSS: experts with biases, sinks in attention."""


def _gpt_oss(config: GptOssConfig) -> list[Layer]:
    count, active = config.routed
    part = experts(config.hidden_size, config.expert_width, count, active, bias=True, router="router")
    return [
        Layer(
            config.layer(index),
            (
                attention(
                    config.hidden_size, config.num_attention_heads, config.kv_heads, config.key_dim,
                    window=window, qkv_bias=True, output_bias=True, others=config.num_attention_heads,
                ),
                part,
            ),
            2 * config.hidden_size,
        )
        for index, window in enumerate(config.windows(lambda index: index % 2 == 0))
    ]  # fmt: skip


class Llama4Config(ExpertConfig):
    """Llama 4: a shared expert, dense layers in between, chunks instead of windows in three of four layers."""

    interleave_moe_layer_step: int = Field(default=1, ge=1)
    moe_layers: list[int] | None = None
    intermediate_size_mlp: int = Field(ge=1)
    attention_chunk_size: int | None = None
    no_rope_layers: list[int] | None = None

    @property
    def chunks(self) -> list[int | None]:
        """Each layer's chunk of attention in tokens; None: all tokens."""
        rotated = self.no_rope_layers or [int((i + 1) % 4 != 0) for i in range(self.num_hidden_layers)]
        kinds = self.kinds(("full_attention", "chunked_attention"))
        if kinds is not None:
            rotated = [int(kind == "chunked_attention") for kind in kinds]
        return [self.attention_chunk_size if each else None for each in rotated]


def _llama4(config: Llama4Config) -> list[Layer]:
    hidden, (count, active) = config.hidden_size, config.routed
    shared = mlp(hidden, config.intermediate_size, module="feed_forward.shared_expert")
    picked = experts(
        hidden, config.intermediate_size, count, active, shared=shared, module="feed_forward", router="router"
    )
    dense = mlp(hidden, config.intermediate_size_mlp, module="feed_forward")
    step = config.interleave_moe_layer_step
    mixtures = config.moe_layers or range(step - 1, config.num_hidden_layers, step)

    def of(index: int, chunk: int | None) -> tuple[LayerPart, LayerPart]:
        attended = attention(
            hidden, config.num_attention_heads, config.kv_heads, config.key_dim, window=chunk,
            qkv_bias=config.attention_bias, output_bias=config.attention_bias,
        )  # fmt: skip
        return attended, picked if index in mixtures else dense

    return [
        Layer(config.layer(index), of(index, chunk), 2 * hidden) for index, chunk in enumerate(config.chunks)
    ]


class MiMoFlashConfig(ExpertConfig):
    """MiMo-V2-Flash: windowed layers with heads of their own, values narrower than keys."""

    v_head_dim: int = Field(ge=1)
    swa_num_attention_heads: int = Field(ge=1)
    swa_num_key_value_heads: int = Field(ge=1)
    swa_head_dim: int = Field(ge=1)
    swa_v_head_dim: int = Field(ge=1)
    hybrid_layer_pattern: list[int]
    moe_layer_freq: list[int]
    n_shared_experts: int | None = None
    add_swa_attention_sink_bias: bool = False
    add_full_attention_sink_bias: bool = False
    attention_chunk_size: int | None = None  # the window once more


def _mimo_flash(config: MiMoFlashConfig) -> list[Layer]:
    hidden, (count, active) = config.hidden_size, config.routed
    full = attention(
        hidden, config.num_attention_heads, config.kv_heads, config.key_dim, value_dim=config.v_head_dim,
        others=config.num_attention_heads if config.add_full_attention_sink_bias else 0,
    )  # fmt: skip
    windowed = attention(
        hidden, config.swa_num_attention_heads, config.swa_num_key_value_heads, config.swa_head_dim,
        value_dim=config.swa_v_head_dim, window=config.sliding_window,
        others=config.swa_num_attention_heads if config.add_swa_attention_sink_bias else 0,
    )  # fmt: skip
    picked = experts(hidden, config.expert_width, count, active, others=count)
    dense = mlp(hidden, config.intermediate_size)
    return [
        Layer(
            config.layer(index),
            (windowed if config.hybrid_layer_pattern[index] else full,
             picked if config.moe_layer_freq[index] else dense),
            2 * hidden,
        )
        for index in range(config.num_hidden_layers)
    ]  # fmt: skip


class StepConfig(MixtureConfig):
    """Step-3.7: a shared expert, most layers with a window."""

    share_expert_dim: int | None = None
    use_moe_router_bias: bool = False


def _step(config: StepConfig) -> list[Layer]:
    changed: dict[str, Any] = {
        "shared_expert_intermediate_size": config.share_expert_dim,
        "use_routing_bias": config.use_moe_router_bias,
    }
    return _layers(config.model_copy(update=changed), others=_head_norms(config))


FAMILIES = {
    "mixtral": Family(MixtureConfig, lambda config: _layers(config, module="block_sparse_moe", names=_WS)),
    "qwen2_moe": Family(
        MixtureConfig, lambda config: _layers(config, qkv_bias=True, output_bias=False, shared_gate=True)
    ),
    "qwen3_moe": Family(MixtureConfig, lambda config: _layers(config, others=_head_norms(config))),
    "qwen3_vl_moe_text": Family(MixtureConfig, lambda config: _layers(config, others=_head_norms(config))),
    "olmoe": Family(MixtureConfig, lambda config: _layers(config, others=_whole_norms(config))),
    "granitemoe": Family(MixtureConfig, lambda config: _layers(config, module="block_sparse_moe"), tied=True),
    "phimoe": Family(
        MixtureConfig,
        lambda config: _layers(config, module="block_sparse_moe", names=_WS, norm_bias=True),
        lambda config: 2 * config.hidden_size + config.vocab_size,  # the head has a bias
    ),
    "glm4_moe": Family(MixtureConfig, _glm4),
    "minimax_m2": Family(
        MixtureConfig,
        lambda config: _layers(config, others=_whole_norms(config), module="block_sparse_moe", names=_WS),
    ),
    "gpt_oss": Family(GptOssConfig, _gpt_oss),
    "llama4_text": Family(Llama4Config, _llama4),
    "mimo_v2_flash": Family(MiMoFlashConfig, _mimo_flash),
    "step3p7": Family(StepConfig, _step),
}
