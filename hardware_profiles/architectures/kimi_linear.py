"""Kimi Linear: three layers of delta attention, then one of latent attention without positions, and experts.

Shapes: Kimi Linear's report (arXiv 2510.26692, section 4) and its repository's ``modeling_kimi.py``.
"""

from typing import Any

from hardware_profiles.architectures.config import Family
from hardware_profiles.architectures.latent import LatentConfig
from hardware_profiles.layers import Layer, LayerPart, Matrix, RecurrentState, experts, latent_attention, mlp


class KimiLinearConfig(LatentConfig):
    """The widths of both kinds of attention, and which layer has which (counted from 1)."""

    linear_attn_config: dict[str, Any]
    num_shared_experts: int | None = None


def _delta_attention(config: KimiLinearConfig) -> LayerPart:
    """Return a layer of Kimi delta attention: a state of keys x values a head, in 32 bits as vLLM keeps it."""
    numbers = []
    for key in ("num_heads", "head_dim", "short_conv_kernel_size"):
        number = config.linear_attn_config.get(key)
        if not isinstance(number, int) or number < 1:
            config.refuse(f"linear_attn_config.{key}", number, "must be at least 1")
        numbers.append(number)
    heads, dim, kernel = numbers
    hidden, wide = config.hidden_size, heads * dim
    matrices = (
        *(Matrix(f"self_attn.{name}_proj", hidden, wide) for name in "qkv"),
        Matrix("self_attn.f_a_proj", hidden, dim, copied=True),
        Matrix("self_attn.f_b_proj", dim, wide),
        Matrix("self_attn.b_proj", hidden, heads),
        Matrix("self_attn.g_a_proj", hidden, dim, copied=True),
        Matrix("self_attn.g_b_proj", dim, wide),
        Matrix("self_attn.o_proj", wide, hidden),
    )
    others = 3 * wide * kernel + heads + wide + dim  # convolutions, A, the bias of dt, the norm of the output
    state = RecurrentState(heads * dim * dim, 4, 3 * wide * (kernel - 1), heads)
    return LayerPart("linear attention", matrices, others, state=state)


def _layers(config: KimiLinearConfig) -> list[Layer]:
    hidden = config.hidden_size
    full = config.linear_attn_config.get("full_attn_layers")
    if not isinstance(full, list):
        config.refuse("linear_attn_config.full_attn_layers", full, "must be a list of layers")
    attended = latent_attention(
        hidden, config.num_attention_heads, q_rank=config.q_lora_rank, kv_rank=config.kv_lora_rank,
        nope_dim=config.qk_nope_head_dim, rope_dim=config.qk_rope_head_dim, value_dim=config.v_head_dim,
    )  # fmt: skip
    recurrent = _delta_attention(config)
    dense = mlp(hidden, config.intermediate_size)
    count, active = config.routed
    shared = None
    if config.num_shared_experts:
        shared = mlp(
            hidden, config.num_shared_experts * config.expert_width, module="block_sparse_moe.shared_experts"
        )
    mixture = experts(
        hidden, config.expert_width, count, active, shared=shared, others=count, module="block_sparse_moe",
        names=("w1", "w3", "w2"),
    )  # fmt: skip
    return [
        Layer(
            config.layer(index),
            (attended if index + 1 in full else recurrent, mixture if config.is_mixture(index) else dense),
            2 * hidden,
        )
        for index in range(config.num_hidden_layers)
    ]


FAMILIES = {"kimi_linear": Family(KimiLinearConfig, _layers)}
