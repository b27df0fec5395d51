"""Reading a Hugging Face ``config.json``: a model's layers, and clear refusal of what is not described.

What is priced wrongly without a word does harm, so each family says which fields it understands
(``architectures/``), and a field that shows something else is refused by its name.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardware_profiles.architectures import MODEL_TYPES, family_of
from hardware_profiles.architectures.config import TEXT_DEFAULTS, understood
from hardware_profiles.files import read_text, validate
from hardware_profiles.model import Model
from hardware_profiles.quantisation.scheme import KV_BYTES_PER_VALUE, Quantization
from simulator.errors import InputError
from simulator.input_files import parse_json

# A field that is present and set to something (not null, false, 0 or empty) shows an architecture.
_TELLING_FIELDS = {
    "is_encoder_decoder": "an encoder-decoder",
    "num_experts": "a mixture of experts",
    "num_local_experts": "a mixture of experts",
    "moe_num_experts": "a mixture of experts",
    "n_routed_experts": "a mixture of routed and shared experts",
    "n_shared_experts": "a mixture with shared experts",
    "shared_expert_intermediate_size": "a mixture with a shared expert",
    "shared_intermediate_size": "a mixture with a shared expert",
    "first_k_dense_replace": "a mixture of experts in some layers only",
    "moe_layer_freq": "a mixture of experts in some layers only",
    "mlp_only_layers": "a mixture of experts in some layers only",
    "moe_latent_size": "experts on a latent",
    "routed_expert_hidden_size": "experts on a latent",
    "attn_res_block_size": "attention over the layers before",
    "mla_use_output_gate": "latent attention with a gate",
    "kv_lora_rank": "multi-head latent attention",
    "index_topk": "sparse attention",
    "sparse_attention_config": "sparse attention",
    "compress_ratios": "a compressed KV cache",
    "ssm_cfg": "a state-space model",
    "state_size": "a state-space model",
    "ssm_state_size": "a state-space model",
    "mamba_d_state": "a state-space model",
    "linear_num_key_heads": "linear attention",
    "linear_attn_config": "linear attention",
    "attn_output_gate": "gated attention",
    "hybrid_override_pattern": "layers of several kinds",
    "hybrid_layer_pattern": "layers of several kinds",
    "layers_block_type": "layers of several kinds",
    "block_configs": "layers of several shapes",
    "cross_attention_layers": "cross-attention",
    "attention_chunk_size": "attention in chunks",
    "num_kv_shared_layers": "layers that share their KV cache",
    "hidden_size_per_layer_input": "embeddings of each layer",
    "attention_k_eq_v": "values that are keys",
    "enable_moe_block": "experts beside an MLP",
    "audio_config": "a model that takes audio",
}
# What does not change the layers, but the time or the memory.
_REMARKS = {
    "vision_config": "the vision part is left out, its weights and its time",
    "dual_chunk_attention_config": "'dual_chunk_attention_config': attention is priced in full, not sparse",
}
_TEXT_PARTS = ("text_config", "llm_config", "language_config")  # of a wrapper around a language model
# What the text part of a wrapper is, where it does not say.
_WRAPPER_TYPES = {"minimax_m3_vl": "minimax_m3", "gemma3": "gemma3_text", "llava": "llama"}
# What the names of a wrapper's layers begin with, where that is not "language_model.model."
_PREFIXES = dict.fromkeys(
    ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "gemma4"), "model.language_model."
)
_16_BITS = ("bfloat16", "float16", "float32")  # the last is served as 16 bits (vLLM, SGLang, TensorRT-LLM)


def read_config(path: Path) -> Mapping[str, Any]:
    """Return the object in the JSON file ``path``; InputError with the line if it is not one."""
    text = read_text(path)
    try:
        config = parse_json(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno} column {error.colno}: not valid JSON ({error.msg})"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: expected a JSON object with model fields, found {type(config).__name__}")
    return config


# Types of rope_scaling: those that stretch the longest sequence, and those that only rotate otherwise.
_STRETCHING = ("linear", "dynamic", "ntk", "yarn")
_ROTATING = ("default", "llama3", "longrope", "su", "mrope", "proportional")


def model_of(
    config: Mapping[str, Any], name: str, source: str, where: str, beside: Path | None = None
) -> Model:
    """Return the model that a ``config.json`` describes; ``where`` names the file in refusals.

    ``beside``: the ``hf_quant_config.json`` of the same checkpoint, if it has one.

    Raises InputError for an architecture that is not described, a missing or wrong field, and heads
    that do not divide.
    """
    text, prefix = _text_part(config, where)
    model_type = text.get("model_type")
    if model_type is None:
        raise InputError(f"{where}: key 'model_type' is missing")
    if model_type not in MODEL_TYPES:
        raise InputError(
            f"{where}: 'model_type' is {model_type!r}, which is not supported yet;"
            f" expected one of {', '.join(MODEL_TYPES)}"
        )
    _check_dtype(text, where)
    family = family_of(model_type)
    known = understood(family.config)
    for field, what in _TELLING_FIELDS.items():
        if text.get(field) and field not in known:
            raise InputError(
                f"{where}: '{field}' shows {what}, which is not supported yet in models of type '{model_type}'"
            )
    required = {key for key, field in family.config.model_fields.items() if field.is_required()}
    given = {key: each for key, each in text.items() if each is not None or key in required}
    wrapped = any(isinstance(config.get(key), dict) for key in _TEXT_PARTS)
    usual = dict(TEXT_DEFAULTS.get(model_type, {})) if wrapped else {}
    usual |= {
        "tie_word_embeddings": family.tied,
        "use_sliding_window": not model_type.startswith(("qwen", "mimo")),
    }
    values = usual | given | {"where": where, "prefix": prefix}
    parsed = validate(family.config, values, where)
    parsed.check()
    quantization = _quantization({**text, **config}, where, beside)  # a wrapper may say it in either
    return Model(
        name=name,
        source=source,
        model_type=model_type,
        hidden_size=parsed.hidden_size,
        vocab_size=parsed.vocab_size,
        max_position_embeddings=_longest(text, parsed.max_position_embeddings, where),
        tie_word_embeddings=parsed.tie_word_embeddings,
        layers=tuple(family.layers(parsed)),
        other_parameters=family.final(parsed),
        model_max_length=parsed.model_max_length or 0,
        remarks=tuple(what for field, what in _REMARKS.items() if config.get(field) or text.get(field)),
        quantization=quantization,
        kv_bytes_per_value=KV_BYTES_PER_VALUE[(quantization and quantization.kv_cache) or "16 bits"],
    )


def _text_part(config: Mapping[str, Any], where: str) -> tuple[dict[str, Any], str]:
    """Return the language model's fields, and what the names of its layers begin with in the checkpoint."""
    for key in _TEXT_PARTS:
        text = config.get(key)
        if isinstance(text, dict) and text:
            outer = {field: config[field] for field in ("torch_dtype", "dtype", "tie_word_embeddings")
                     if field in config}  # fmt: skip
            inner = {"model_type": _WRAPPER_TYPES.get(str(config.get("model_type")))} | outer | text
            return inner, _PREFIXES.get(str(config.get("model_type")), "language_model.model.")
        if text:
            raise InputError(f"{where}: '{key}' ({text!r}) must be a table of fields")
    return dict(config), "backbone." if config.get("model_type") in ("nemotron_h", "mamba2") else "model."


def _check_dtype(config: Mapping[str, Any], where: str) -> None:
    # transformers 5 writes "dtype" where 4 wrote "torch_dtype".
    key = "torch_dtype" if config.get("torch_dtype") is not None else "dtype"
    given = config.get(key)
    if given is not None and given not in _16_BITS:
        raise InputError(
            f"{where}: '{key}' is {given!r}, which is not supported yet; expected one of {', '.join(_16_BITS)}"
        )


def _longest(config: Mapping[str, Any], positions: int, where: str) -> int:
    """Return the tokens of the longest sequence: the positions, stretched as vLLM does it (0.11, config/model.py).

    linear, dynamic and ntk multiply max_position_embeddings, yarn original_max_position_embeddings; the other types
    change how positions are rotated, not how many there are. transformers 5 has a table for each kind of layer, whose
    factors are one. Raises InputError for a type that is not known, or one that stretches and does not say how far.
    """
    key = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    given = config.get(key) or {}
    if not isinstance(given, dict):
        raise InputError(f"{where}: '{key}' ({given!r}) must be a table of fields")
    longest = positions
    by_layer = [rope for rope in given.values() if isinstance(rope, dict)]
    for rope in by_layer or [given]:
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in _STRETCHING and kind not in _ROTATING:
            raise InputError(
                f"{where}: '{key}' is of type {kind!r}, which is not supported yet; expected one of"
                f" {', '.join((*_STRETCHING, *_ROTATING))}"
            )
        factor: Any = rope.get("factor", 1.0 if kind in _ROTATING else None)
        before: Any = rope.get("original_max_position_embeddings", positions)
        for name, number in (("factor", factor), ("original_max_position_embeddings", before)):
            if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number < 1e12:
                raise InputError(f"{where}: key '{key}.{name}': expected a number above 0, got {number!r}")
        if kind in _STRETCHING:
            longest = int((before if kind == "yarn" else positions) * factor)
    # Gemma 3 counts its positions stretched.
    return positions if "gemma3" in str(config.get("model_type")) else longest


def _quantization(config: Mapping[str, Any], where: str, beside: Path | None) -> Quantization | None:
    given = config.get("quantization_config") or config.get("compression_config")
    if not given and beside is None:
        return None
    from hardware_profiles.quantisation.read import read_beside, read_quantization, with_experts

    found = None if beside is None else read_beside(read_config(beside), str(beside))
    if given:  # says more, and engines look at it first
        second, found = found, read_quantization(given, where)
        if found.kv_cache is None and second is not None:
            found = dataclasses.replace(found, kv_cache=second.kv_cache)
    assert found is not None
    return with_experts(found, config.get("expert_dtype"), where)
