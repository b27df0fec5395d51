"""Reading a Hugging Face ``config.json``: the fields that matter, and clear refusal of what is not modelled.

The cost model describes decoders with a gated MLP, or equal ones as experts in every layer, and
(grouped-query) full attention; weights have 16 bits, or are FP8 or NVFP4. Anything else would be priced
wrongly without a word, so it is refused by the field that shows it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from hardware_profiles.files import read_text, validate
from simulator.errors import InputError

Quantization = Literal["fp8", "nvfp4"]

SUPPORTED_MODEL_TYPES = ("llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3", "qwen3_moe")

# A field that is present and set to something (not null, false, 0 or empty) shows the architecture.
_REFUSED_FIELDS = {
    "compression_config": "quantised weights",
    "is_encoder_decoder": "an encoder-decoder",
    "n_routed_experts": "a mixture of routed and shared experts",
    "shared_expert_intermediate_size": "a mixture with a shared expert",
    "mlp_only_layers": "a mixture of experts in some layers only",
    "kv_lora_rank": "multi-head latent attention",
    "ssm_cfg": "a state-space model",
    "state_size": "a state-space model",
    "mamba_d_state": "a state-space model",
    "linear_num_key_heads": "linear attention",
    "vision_config": "a multimodal model",
    "audio_config": "a multimodal model",
    "text_config": "a multimodal model",
}


class HfConfig(BaseModel):
    """The fields of ``config.json`` that decide cost and memory; the rest is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    model_type: str
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1)
    head_dim: int | None = Field(default=None, ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1)
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    # transformers 5 writes "dtype" where 4 wrote "torch_dtype".
    torch_dtype: str = Field(default="bfloat16", validation_alias=AliasChoices("torch_dtype", "dtype"))
    experts: int | None = Field(
        default=None, ge=1, validation_alias=AliasChoices("num_local_experts", "num_experts")
    )
    num_experts_per_tok: int | None = Field(default=None, ge=1)
    moe_intermediate_size: int | None = Field(default=None, ge=1)
    decoder_sparse_step: int = 1
    quantization: Quantization | None = None
    sliding_window: int | None = None
    use_sliding_window: bool = True


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in the JSON file ``path``; InputError with the line if it is not one."""
    try:
        config = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno} column {error.colno}: not valid JSON ({error.msg})"
        ) from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a JSON object with model fields, found {type(config).__name__}")
    return config


def parse_config(config: Mapping[str, Any], where: str) -> HfConfig:
    """Return the validated fields of ``config``; ``where`` names the file in refusals.

    Raises InputError for an architecture that is not supported yet, a missing or wrong field, and heads
    that do not divide.
    """
    for field, what in _REFUSED_FIELDS.items():
        if config.get(field):
            raise InputError(
                f"{where}: '{field}' shows {what}, which is not supported yet;"
                " expected a decoder with grouped-query attention, dense or with equal experts"
            )
    kinds = config.get("layer_types") or []
    other = next((kind for kind in kinds if kind != "full_attention"), None)
    if other is not None:
        raise InputError(
            f"{where}: 'layer_types' has '{other}', which is not supported yet; expected full_attention only"
        )
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type not in SUPPORTED_MODEL_TYPES:
        raise InputError(
            f"{where}: 'model_type' is '{model_type}', which is not supported yet;"
            f" expected one of {', '.join(SUPPORTED_MODEL_TYPES)}"
        )
    parsed = validate(HfConfig, {**config, "quantization": _quantization(config, where)}, where)
    _check_shape(parsed, where)
    return parsed


def _quantization(config: Mapping[str, Any], where: str) -> Quantization | None:
    given = config.get("quantization_config")
    if not given:
        return None
    method = given.get("quant_method") if isinstance(given, dict) else given
    if method == "fp8":
        return "fp8"
    if method == "modelopt" and given.get("quant_algo") in ("FP8", "NVFP4"):
        return "fp8" if given["quant_algo"] == "FP8" else "nvfp4"
    raise InputError(
        f"{where}: 'quantization_config' shows weights quantised by {method!r}, which is not supported yet;"
        " expected fp8, or modelopt with FP8 or NVFP4"
    )


def _check_shape(config: HfConfig, where: str) -> None:
    heads = config.num_attention_heads
    if config.num_key_value_heads is not None and heads % config.num_key_value_heads:
        raise InputError(
            f"{where}: 'num_attention_heads' ({heads}) must be a multiple of"
            f" 'num_key_value_heads' ({config.num_key_value_heads})"
        )
    if config.head_dim is None and config.hidden_size % heads:
        raise InputError(
            f"{where}: 'hidden_size' ({config.hidden_size}) must be a multiple of"
            f" 'num_attention_heads' ({heads}) when 'head_dim' is absent"
        )
    active = config.num_experts_per_tok
    if config.experts and (active is None or active > config.experts):
        raise InputError(
            f"{where}: 'num_experts_per_tok' ({active}) must be 1 to {config.experts}, the number of experts"
        )
    if config.decoder_sparse_step != 1:
        raise InputError(
            f"{where}: 'decoder_sparse_step' ({config.decoder_sparse_step}) shows experts in some layers only,"
            " which is not supported yet; expected 1"
        )
    if config.torch_dtype not in ("bfloat16", "float16"):
        raise InputError(
            f"{where}: 'torch_dtype' is '{config.torch_dtype}', which is not supported yet;"
            " expected bfloat16 or float16"
        )
    window = config.sliding_window
    # Qwen configs carry a window with use_sliding_window = false; Mistral's has no switch.
    if window is not None and config.use_sliding_window and window < config.max_position_embeddings:
        raise InputError(
            f"{where}: 'sliding_window' ({window}) limits attention, which is not supported yet;"
            " expected full attention"
        )
