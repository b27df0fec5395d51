"""Decoders with multi-head latent attention: DeepSeek V2, V3 and V3.2, Kimi K2, GLM-5.

Shapes: transformers 4.57 ``models/deepseek_v3``; the indexer of DeepSeek V3.2 is its report's (DeepSeek-AI 2025,
section 2.1) and vLLM 0.11 ``models/deepseek_v2.py``, which keeps 128 FP8 values and a 4-byte scale of each token's key.
"""

from typing import ClassVar

from pydantic import Field

from hardware_profiles.architectures.config import ExpertConfig, Family
from hardware_profiles.layers import Cache, Layer, LayerPart, Matrix, experts, latent_attention, mlp

_SCALE_BYTES = 4


class LatentConfig(ExpertConfig):
    """The widths of the latents, the experts, and the indexer where there is one."""

    divides_width: ClassVar[bool] = False  # what heads have is given part by part

    q_lora_rank: int | None = Field(default=None, ge=1)
    kv_lora_rank: int = Field(ge=1)
    qk_nope_head_dim: int = Field(ge=1)
    qk_rope_head_dim: int = Field(ge=1)
    v_head_dim: int = Field(ge=1)
    n_shared_experts: int | None = None
    first_k_dense_replace: int = 0
    moe_layer_freq: int = Field(default=1, ge=1)
    mlp_layer_types: list[str] | None = None
    topk_method: str | None = None
    index_head_dim: int | None = Field(default=None, ge=1)
    index_n_heads: int | None = Field(default=None, ge=1)
    index_topk: int | None = Field(default=None, ge=1)
    indexer_types: list[str] | None = None

    def is_mixture(self, index: int) -> bool:
        """Return whether a layer's MLP is a mixture."""
        if self.mlp_layer_types is not None:
            return self.mlp_layer_types[index] == "sparse"
        return (
            self.experts is not None
            and index >= self.first_k_dense_replace
            and not index % self.moe_layer_freq
        )


def _with_indexer(config: LatentConfig, part: LayerPart) -> LayerPart:
    """Return the attention with what picks the keys that it attends to."""
    width, heads = config.index_head_dim, config.index_n_heads
    if not width or not heads:
        config.refuse(
            "index_n_heads", heads, "and 'index_head_dim' must be at least 1 where there is 'index_topk'"
        )
    matrices = (
        Matrix(
            "self_attn.indexer.wq_b", config.q_lora_rank or config.hidden_size, heads * width, copied=True
        ),
        Matrix("self_attn.indexer.wk", config.hidden_size, width, copied=True),
        Matrix("self_attn.indexer.weights_proj", config.hidden_size, heads, copied=True),
    )
    keys = Cache(1, width + _SCALE_BYTES, heads, 2 * width, 2 * width, byte_values=True, copied=True)
    return part._replace(
        matrices=part.matrices + matrices,
        others=part.others + 2 * width,  # the norm of the keys
        caches=(*part.caches, keys),
    )


def _layers(config: LatentConfig) -> list[Layer]:
    hidden = config.hidden_size
    sparse = config.index_topk
    attended = latent_attention(
        hidden,
        config.num_attention_heads,
        q_rank=config.q_lora_rank,
        kv_rank=config.kv_lora_rank,
        nope_dim=config.qk_nope_head_dim,
        rope_dim=config.qk_rope_head_dim,
        value_dim=config.v_head_dim,
        most_keys=sparse,
    )
    indexed = _with_indexer(config, attended) if sparse else attended
    dense = mlp(hidden, config.intermediate_size)
    mixture = dense
    if config.experts:
        count, active = config.routed
        shared = None
        if config.n_shared_experts:
            shared = mlp(hidden, config.n_shared_experts * config.expert_width, module="mlp.shared_experts")
        corrected = count if config.topk_method == "noaux_tc" else 0
        mixture = experts(hidden, config.expert_width, count, active, shared=shared, others=corrected)
    types = config.indexer_types or ["full"] * config.num_hidden_layers
    return [
        Layer(
            config.layer(index),
            (
                indexed if types[index] == "full" else attended,
                mixture if config.is_mixture(index) else dense,
            ),
            2 * hidden,
        )
        for index in range(config.num_hidden_layers)
    ]


FAMILIES = {
    name: Family(LatentConfig, _layers)
    for name in ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa", "glm4_moe_lite")
}
