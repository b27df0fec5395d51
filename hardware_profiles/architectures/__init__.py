"""How the layers of a model follow from its ``config.json``: one family of models for each ``model_type``."""

from importlib import import_module

from hardware_profiles.architectures.config import Family

# Which file describes which types; a file is imported when a model of it is asked for.
_FILES = {
    "grouped_query": (
        "llama mistral ministral ministral3 smollm3 granite internlm3 phi3 ernie4_5 seed_oss qwen2 qwen2_vl"
        " qwen2_vl_text qwen2_5_vl qwen2_5_vl_text mimo qwen3 qwen3_vl_text hunyuan_v1_dense gemma gemma2 gemma3_text"
        " olmo2 olmo3 exaone4 glm glm4 cohere cohere2 starcoder2 stablelm nemotron"
    ),
    "mixtures": (
        "mixtral qwen2_moe qwen3_moe qwen3_vl_moe_text olmoe granitemoe phimoe glm4_moe minimax_m2 gpt_oss"
        " llama4_text mimo_v2_flash step3p7"
    ),
    "hybrid": "qwen3_next qwen3_5_text qwen3_5_moe_text nemotron_h mamba2 jamba",
    "uneven": "nemotron-nas openelm gemma4_text minimax_m3",
    "latent": "deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 glm_moe_dsa glm4_moe_lite",
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names.split()}

MODEL_TYPES = tuple(_FILE_OF)


def family_of(model_type: str) -> Family:
    """Return the family of a ``model_type``; KeyError if there is none."""
    families: dict[str, Family] = import_module(f"{__name__}.{_FILE_OF[model_type]}").FAMILIES
    return families[model_type]
