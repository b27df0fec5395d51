"""Decoders of equal layers, grouped-query attention and one MLP, and what sets the families apart.

Which matrices have biases and how many norms there are is in no config; it is the models' code (transformers 4.57,
``models/*/modeling_*.py``).
"""

from typing import NamedTuple

from hardware_profiles.architectures.config import DecoderConfig, Family
from hardware_profiles.layers import Layer, attention, mlp


class Habits(NamedTuple):
    """What the code of a family does whatever its config says."""

    qkv_bias: bool | None = None  # None: as attention_bias says
    output_bias: bool | None = None
    head_norms: bool = False  # a norm over each head's queries and keys
    whole_norms: bool = False  # one over all heads together
    norms: int = 2  # of a layer, each as long as the hidden size
    norm_bias: bool = False
    gated: bool = True
    mlp_bias: bool = False  # whatever the config says
    head_bias: bool = False
    windowed_every: int = 0  # every n-th layer has full attention, the others the window; 0: all have it
    first_full: bool = False  # the layers before max_window_layers have full attention


class GroupedQueryConfig(DecoderConfig):
    """The common fields, and the names that some families have for biases and patterns."""

    use_bias: bool | None = None  # StarCoder 2
    use_qkv_bias: bool | None = None  # StableLM
    attention_out_bias: bool | None = None  # Seed-OSS
    use_qk_norm: bool | None = None
    sliding_window_pattern: int | str | None = None  # every n-th layer is full; or letters, G for a full one


def layers_of(habits: Habits):  # type: ignore[no-untyped-def]
    """Return the function that makes a family's layers."""

    def layers(config: GroupedQueryConfig) -> list[Layer]:
        hidden, heads, kv_heads, dim = (
            config.hidden_size, config.num_attention_heads, config.kv_heads, config.key_dim
        )  # fmt: skip
        said = config.use_bias if config.use_bias is not None else config.attention_bias
        qkv = config.use_qkv_bias if config.use_qkv_bias is not None else said
        qkv_bias = qkv if habits.qkv_bias is None else habits.qkv_bias
        out = said if config.attention_out_bias is None else config.attention_out_bias
        norms = habits.norms * hidden * (2 if habits.norm_bias else 1)
        others = 2 * dim if habits.head_norms or config.use_qk_norm else 0
        others += (heads + kv_heads) * dim if habits.whole_norms else 0
        every = config.sliding_window_pattern or habits.windowed_every
        before = config.max_window_layers if habits.first_full else None

        def usual(index: int) -> bool:
            if before is not None:
                return index >= before
            if isinstance(every, str):
                return every[index % len(every)] != "G"
            return not every or (index + 1) % every != 0

        return [
            Layer(
                config.layer(index),
                (
                    attention(
                        hidden,
                        heads,
                        kv_heads,
                        dim,
                        window=window,
                        qkv_bias=qkv_bias,
                        output_bias=out if habits.output_bias is None else habits.output_bias,
                        others=others,
                    ),
                    mlp(
                        hidden,
                        config.intermediate_size,
                        gated=habits.gated,
                        bias=config.mlp_bias or bool(config.use_bias) or habits.mlp_bias,
                    ),
                ),
                norms,
            )
            for index, window in enumerate(config.windows(usual))
        ]

    return layers


def _family(tied: bool = False, **habits: object) -> Family:
    kept = Habits(**habits)  # type: ignore[arg-type]

    def final(config: GroupedQueryConfig) -> int:
        norm = config.hidden_size * (2 if kept.norm_bias else 1)
        return norm + (config.vocab_size if kept.head_bias else 0)

    return Family(GroupedQueryConfig, layers_of(kept), final, tied)


_BIASED = {"qkv_bias": True, "output_bias": True, "mlp_bias": True, "gated": False, "norm_bias": True}
_QWEN2 = {"qkv_bias": True, "output_bias": False, "first_full": True}
FAMILIES = {
    "llama": _family(),
    "mistral": _family(),
    "ministral": _family(),
    "ministral3": _family(),
    "smollm3": _family(tied=True),
    "granite": _family(),
    "internlm2": _family(),
    "internlm3": _family(),
    "baichuan": _family(),
    "gpt_neox": _family(**_BIASED),
    "phi": _family(**_BIASED, norms=1, head_bias=True),
    "phi3": _family(),
    "ernie4_5": _family(),
    "seed_oss": _family(),
    "qwen2": _family(**_QWEN2),
    "qwen2_vl": _family(**_QWEN2),
    "qwen2_vl_text": _family(**_QWEN2),
    "qwen2_5_vl": _family(**_QWEN2),
    "qwen2_5_vl_text": _family(**_QWEN2),
    "mimo": _family(**_QWEN2),
    "qwen3": _family(head_norms=True, first_full=True),
    "qwen3_vl_text": _family(head_norms=True),
    "hunyuan_v1_dense": _family(head_norms=True),
    "gemma": _family(tied=True),
    "gemma2": _family(tied=True, norms=4, windowed_every=2),
    "gemma3_text": _family(tied=True, norms=4, head_norms=True, windowed_every=6),
    "olmo2": _family(whole_norms=True),
    "olmo3": _family(whole_norms=True, windowed_every=4),
    "exaone4": _family(head_norms=True, windowed_every=4),
    "glm": _family(output_bias=False),
    "glm4": _family(output_bias=False, norms=4),
    "glm4v_text": _family(output_bias=False, norms=4),
    "cohere": _family(tied=True, norms=1),
    "cohere2": _family(tied=True, norms=1, windowed_every=4),
    "starcoder2": _family(tied=True, gated=False, norm_bias=True),
    "stablelm": _family(output_bias=False, norm_bias=True),
    "nemotron": _family(gated=False, norm_bias=True),
}
