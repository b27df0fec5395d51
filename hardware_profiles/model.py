"""The shape of a dense decoder-only transformer, and what follows from it: parameters, bytes.

Shapes come from Hugging Face ``config.json`` fields, either shipped (``models/*.toml``) or by path.
"""

import dataclasses
from pathlib import Path

from hardware_profiles.files import read_toml, shipped_names, shipped_path, unknown
from hardware_profiles.huggingface import HfConfig, parse_config, read_config
from simulator.errors import InputError


@dataclasses.dataclass(frozen=True)
class Model:
    """A dense decoder with grouped-query attention and a gated MLP, in 16-bit weights and KV cache."""

    name: str
    source: str  # where the shape was read
    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    torch_dtype: str
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool

    @property
    def bytes_per_value(self) -> int:
        """Bytes of one weight or one KV value: 2 (bfloat16, float16)."""
        return 2

    @property
    def linear_parameters(self) -> int:
        """Parameters of all layers' matrices, L·(h·(H+2K)·d + H·d·h + 3·h·I): no lm_head, no embedding."""
        h, d = self.hidden_size, self.head_dim
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        per_layer = h * (heads + 2 * kv_heads) * d + heads * d * h + 3 * h * self.intermediate_size
        return self.num_hidden_layers * per_layer

    @property
    def parameters(self) -> int:
        """Every parameter: matrices, biases, norms, embedding and (unless tied) lm_head."""
        h, d, inner = self.hidden_size, self.head_dim, self.intermediate_size
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        per_layer = 2 * h  # the two norms
        per_layer += (heads + 2 * kv_heads) * d if self.qkv_bias else 0
        per_layer += h if self.output_bias else 0
        per_layer += 2 * inner + h if self.mlp_bias else 0
        per_layer += 2 * d if self.qk_norm else 0
        embeddings = self.vocab_size * h * (1 if self.tie_word_embeddings else 2)
        return self.linear_parameters + self.num_hidden_layers * per_layer + embeddings + h

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return self.parameters * self.bytes_per_value

    @property
    def kv_bytes_per_token(self) -> int:
        """KV-cache bytes of one token over all layers: 2·K·d·L values."""
        return 2 * self.num_key_value_heads * self.head_dim * self.num_hidden_layers * self.bytes_per_value


def list_models() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return shipped_names("models")


def load_model(name_or_path: str, base_dir: Path | None = None) -> Model:
    """Return a shipped model by name, or the one in a Hugging Face ``config.json`` (or its folder).

    A relative path is taken from ``base_dir`` (default: the working folder).
    Raises InputError for an unknown name (with the nearest one), an unreadable or malformed file (with
    the key), and an architecture that the cost model does not describe (with the field that shows it).
    """
    if name_or_path in list_models():
        path = shipped_path("models", name_or_path)
        table = read_toml(path)
        config = table.get("config")
        if not isinstance(config, dict):
            raise InputError(f"{path}: table [config] is missing")
        return _model(name_or_path, f"{table.get('source', path)}", parse_config(config, str(path)))
    path = (base_dir or Path()) / name_or_path
    if path.is_dir():
        path = path / "config.json"
    if name_or_path.endswith(".json") or path.is_file():
        name = path.parent.name if path.name == "config.json" else path.stem
        return _model(name or path.stem, str(path), parse_config(read_config(path), str(path)))
    raise unknown("model", name_or_path, list_models(), "the path of a Hugging Face config.json")


def _model(name: str, source: str, config: HfConfig) -> Model:
    heads = config.num_attention_heads
    bias = config.attention_bias
    return Model(
        name=name,
        source=source,
        model_type=config.model_type,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=config.num_key_value_heads or heads,
        head_dim=config.head_dim or config.hidden_size // heads,
        intermediate_size=config.intermediate_size,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        tie_word_embeddings=config.tie_word_embeddings,
        torch_dtype=config.torch_dtype,
        # Qwen2 always has biases on q, k and v, and its config.json does not say so.
        qkv_bias=bias or config.model_type == "qwen2",
        output_bias=bias,
        mlp_bias=config.mlp_bias,
        qk_norm=config.model_type == "qwen3",
    )
