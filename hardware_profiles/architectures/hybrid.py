"""Decoders whose layers differ in kind: recurrent ones beside attention, and MLPs as layers of their own.

Qwen3-Next and Qwen3.5 (gated delta rule), Nemotron-H, Bamba, Mamba-2 (SSD), Jamba (Mamba-1). Shapes: transformers 4.57,
``models/{qwen3_next,mamba2,jamba}/modeling_*.py``, and the Nemotron-H repository's ``modeling_nemotron_h.py``.
"""

from typing import Any

from pydantic import AliasChoices, Field

from hardware_profiles.architectures.config import DecoderConfig, ExpertConfig, Family
from hardware_profiles.layers import Layer, LayerPart, Matrix, RecurrentState, attention, experts, mlp


def _bytes_of(dtype: str | None) -> int:
    """Return the bytes of a value of a recurrent state; 2 where the config leaves it to the model's type."""
    return 4 if dtype == "float32" else 2


class DeltaConfig(ExpertConfig):
    """Qwen3-Next and Qwen3.5: three layers of the gated delta rule, then one of gated attention."""

    intermediate_size: int = Field(default=1, ge=1)  # unset where all layers have experts
    full_attention_interval: int = Field(default=4, ge=1)
    attn_output_gate: bool = True
    linear_conv_kernel_dim: int = Field(ge=1)
    linear_key_head_dim: int = Field(ge=1)
    linear_num_key_heads: int = Field(ge=1)
    linear_num_value_heads: int = Field(ge=1)
    linear_value_head_dim: int = Field(ge=1)
    shared_expert_intermediate_size: int | None = None
    decoder_sparse_step: int = Field(default=1, ge=1)
    mlp_only_layers: list[int] | None = None
    mamba_ssm_dtype: str | None = None


def _delta_rule(config: DeltaConfig) -> LayerPart:
    """Return a layer of the gated delta rule (Yang et al., arXiv 2412.06464): a state of keys x values a head."""
    hidden, key_heads, heads = (
        config.hidden_size, config.linear_num_key_heads, config.linear_num_value_heads
    )  # fmt: skip
    keys, values = key_heads * config.linear_key_head_dim, heads * config.linear_value_head_dim
    convolved = 2 * keys + values
    matrices = (
        Matrix("linear_attn.in_proj_qkv", hidden, convolved),
        Matrix("linear_attn.in_proj_z", hidden, values),
        Matrix("linear_attn.in_proj_b", hidden, heads),
        Matrix("linear_attn.in_proj_a", hidden, heads),
        Matrix("linear_attn.out_proj", values, hidden),
    )
    others = convolved * config.linear_conv_kernel_dim + 2 * heads + config.linear_value_head_dim
    state = RecurrentState(
        heads * config.linear_key_head_dim * config.linear_value_head_dim,
        _bytes_of(config.mamba_ssm_dtype),
        convolved * (config.linear_conv_kernel_dim - 1),
        heads,
    )
    return LayerPart("linear attention", matrices, others, state=state)


def _delta(config: DeltaConfig) -> list[Layer]:
    hidden, dim = config.hidden_size, config.key_dim
    attended = attention(
        hidden, config.num_attention_heads, config.kv_heads, dim, others=2 * dim, gated=config.attn_output_gate,
        qkv_bias=config.attention_bias, output_bias=config.attention_bias,
    )  # fmt: skip
    recurrent = _delta_rule(config)
    dense = mlp(hidden, config.intermediate_size)
    mixture = dense
    if config.experts:
        shared = None
        if config.shared_expert_intermediate_size:
            shared = mlp(hidden, config.shared_expert_intermediate_size, module="mlp.shared_expert")
        mixture = experts(hidden, config.expert_width, *config.routed, shared=shared, shared_gate=True)
    every = config.full_attention_interval
    kinds = config.kinds(("full_attention", "linear_attention"))
    kinds = kinds or [
        "full_attention" if (index + 1) % every == 0 else "linear_attention"
        for index in range(config.num_hidden_layers)
    ]
    plain = set(config.mlp_only_layers or ())
    return [
        Layer(
            config.layer(index),
            (
                attended if kind == "full_attention" else recurrent,
                dense if index in plain or (index + 1) % config.decoder_sparse_step else mixture,
            ),
            2 * hidden,
        )
        for index, kind in enumerate(kinds)
    ]


def ssd(
    hidden: int, heads: int, head_dim: int, groups: int, state_size: int, kernel: int, *,
    conv_bias: bool, bias: bool, state_bytes: int, module: str = "mixer",
) -> LayerPart:  # fmt: skip
    """Return a Mamba-2 layer (Dao and Gu, arXiv 2405.21060, section 7): a state of ``state_size`` a channel."""
    inner = heads * head_dim
    convolved = inner + 2 * groups * state_size
    matrices = (
        Matrix(f"{module}.in_proj", hidden, inner + convolved + heads),
        Matrix(f"{module}.out_proj", inner, hidden),
    )
    others = convolved * (kernel + int(conv_bias)) + 3 * heads + inner
    others += matrices[0].outputs + hidden if bias else 0
    state = RecurrentState(inner * state_size, state_bytes, convolved * (kernel - 1), heads)
    return LayerPart("mamba", matrices, others, state=state)


class NemotronHConfig(ExpertConfig):
    """Nemotron-H and Nemotron 3: each layer is one thing, and a pattern says which."""

    num_hidden_layers: int = Field(default=0, ge=0)  # the pattern has as many letters
    hybrid_override_pattern: str | None = None
    layers_block_type: list[str] | None = None
    head_dim: int | None = Field(
        default=None, ge=1, validation_alias=AliasChoices("head_dim", "attention_head_dim")
    )
    ssm_state_size: int = Field(ge=1)
    mamba_num_heads: int = Field(ge=1)
    mamba_head_dim: int = Field(ge=1)
    n_groups: int = Field(ge=1)
    conv_kernel: int = Field(ge=1)
    use_bias: bool = False
    use_conv_bias: bool = True
    mamba_ssm_cache_dtype: str | None = None
    n_shared_experts: int | None = None
    moe_shared_expert_intermediate_size: int | None = None
    moe_latent_size: int | None = None

    @property
    def pattern(self) -> list[str]:
        """What each layer is: mamba, mlp, attention or moe."""
        letters = {"M": "mamba", "-": "mlp", "*": "attention", "E": "moe"}
        if self.layers_block_type is not None:
            kinds = self.layers_block_type
        elif self.hybrid_override_pattern is not None:
            kinds = [letters.get(letter, letter) for letter in self.hybrid_override_pattern]
        else:
            self.refuse("hybrid_override_pattern", None, "must say what each layer is")
        other = next((kind for kind in kinds if kind not in letters.values()), None)
        if other is not None:
            self.refuse(
                "layers_block_type", other, "is not supported yet; expected mamba, mlp, attention or moe"
            )
        return kinds


def _nemotron_h(config: NemotronHConfig) -> list[Layer]:
    hidden = config.hidden_size
    pattern = config.pattern
    made: dict[str, LayerPart] = {
        "mamba": ssd(
            hidden, config.mamba_num_heads, config.mamba_head_dim, config.n_groups, config.ssm_state_size,
            config.conv_kernel, conv_bias=config.use_conv_bias, bias=config.use_bias,
            state_bytes=_bytes_of(config.mamba_ssm_cache_dtype),
        ),
        "mlp": mlp(hidden, config.intermediate_size, gated=False, bias=config.mlp_bias, module="mixer"),
        "attention": attention(
            hidden, config.num_attention_heads, config.kv_heads, config.key_dim, module="mixer",
            qkv_bias=config.attention_bias, output_bias=config.attention_bias,
        ),
    }  # fmt: skip
    if "moe" in pattern:
        count, active = config.routed
        shared = None
        if config.n_shared_experts:
            width = config.moe_shared_expert_intermediate_size or config.expert_width
            shared = mlp(hidden, width * config.n_shared_experts, gated=False, module="mixer.shared_experts")
        made["moe"] = experts(
            hidden, config.expert_width, count, active, shared=shared, gated=False, others=count,
            latent=config.moe_latent_size, module="mixer",
        )  # fmt: skip
    return [Layer(config.layer(index), (made[kind],), hidden) for index, kind in enumerate(pattern)]


class Mamba2Config(DecoderConfig):
    """Mamba-2 alone: a state and no KV cache."""

    num_attention_heads: int = Field(default=1, ge=1)
    intermediate_size: int = Field(default=1, ge=1)
    max_position_embeddings: int = Field(default=2**20, ge=1)  # a state has no positions
    state_size: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    n_groups: int = Field(ge=1)
    conv_kernel: int = Field(ge=1)
    use_bias: bool = False
    use_conv_bias: bool = True


def _mamba2(config: Mamba2Config) -> list[Layer]:
    part = ssd(
        config.hidden_size, config.num_heads, config.head_dim, config.n_groups, config.state_size,
        config.conv_kernel, conv_bias=config.use_conv_bias, bias=config.use_bias, state_bytes=2,
    )  # fmt: skip
    return [Layer(config.layer(i), (part,), config.hidden_size) for i in range(config.num_hidden_layers)]


class JambaConfig(ExpertConfig):
    """Jamba: Mamba-1 layers, every eighth is attention, every second has experts."""

    attn_layer_period: int = Field(ge=1)
    attn_layer_offset: int = Field(ge=0)
    expert_layer_period: int = Field(ge=1)
    expert_layer_offset: int = Field(ge=0)
    mamba_d_state: int = Field(ge=1)
    mamba_d_conv: int = Field(ge=1)
    mamba_expand: int = Field(ge=1)
    mamba_dt_rank: int = Field(ge=1)
    mamba_conv_bias: bool = True
    mamba_proj_bias: bool = False


def _jamba(config: JambaConfig) -> list[Layer]:
    hidden, state, rank = config.hidden_size, config.mamba_d_state, config.mamba_dt_rank
    inner = config.mamba_expand * hidden
    others = inner * (config.mamba_d_conv + int(config.mamba_conv_bias))  # the convolution
    others += inner * state + inner + inner + rank + 2 * state  # A, D, the bias of dt, three norms
    others += 2 * inner + hidden if config.mamba_proj_bias else 0
    recurrent = LayerPart(
        "mamba",
        (
            Matrix("mamba.in_proj", hidden, 2 * inner),
            Matrix("mamba.x_proj", inner, rank + 2 * state),
            Matrix("mamba.dt_proj", rank, inner),
            Matrix("mamba.out_proj", inner, hidden),
        ),
        others,
        state=RecurrentState(inner * state, 2, inner * (config.mamba_d_conv - 1), inner),
    )
    attended = attention(hidden, config.num_attention_heads, config.kv_heads, config.key_dim)
    dense = mlp(hidden, config.intermediate_size, module="feed_forward")
    mixture = experts(
        hidden, config.intermediate_size, *config.routed, module="feed_forward", router="router"
    )

    def at(index: int, period: int, offset: int, one: Any, other: Any) -> Any:
        return one if index % period == offset else other

    return [
        Layer(
            config.layer(index),
            (
                at(index, config.attn_layer_period, config.attn_layer_offset, attended, recurrent),
                at(index, config.expert_layer_period, config.expert_layer_offset, mixture, dense),
            ),
            2 * hidden,
        )
        for index in range(config.num_hidden_layers)
    ]


FAMILIES = {
    "qwen3_next": Family(DeltaConfig, _delta),
    "qwen3_5_text": Family(DeltaConfig, _delta),
    "qwen3_5_moe_text": Family(DeltaConfig, _delta),
    "nemotron_h": Family(NemotronHConfig, _nemotron_h),
    "mamba2": Family(Mamba2Config, _mamba2),
    "jamba": Family(JambaConfig, _jamba),
}
