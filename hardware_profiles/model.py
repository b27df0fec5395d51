"""The shape of a decoder-only transformer, dense or a mixture of experts, and what follows: parameters, bytes.

Shapes come from Hugging Face ``config.json`` fields, either shipped (``models/*.toml``) or by path.
"""

import dataclasses
from pathlib import Path

from hardware_profiles.files import full_name, read_toml, shipped_names, shipped_path, unknown
from hardware_profiles.huggingface import HfConfig, Quantization, parse_config, read_config
from simulator.errors import InputError


@dataclasses.dataclass(frozen=True)
class Model:
    """A decoder with grouped-query attention and a gated MLP, or several of them as experts.

    KV cache, embedding and lm_head have 16 bits a value; the layers' matrices have as many unless quantised.
    """

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
    num_experts: int = 1  # MLPs in a layer; intermediate_size is that of one
    experts_per_token: int = 1
    quantization: Quantization | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """All that decides cost and memory: two models of equal shape are one to the simulator."""
        return tuple(
            value for key, value in dataclasses.asdict(self).items() if key not in ("name", "source")
        )

    @property
    def bytes_per_value(self) -> int:
        """Bytes of one weight or one KV value: 2 (bfloat16, float16)."""
        return 2

    @property
    def _attention_parameters(self) -> int:
        """Matrices of one layer outside its MLPs: h·(H+2K)·d + H·d·h, and the router if there are experts."""
        h, d = self.hidden_size, self.head_dim
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        router = h * self.num_experts if self.num_experts > 1 else 0
        return h * (heads + 2 * kv_heads) * d + heads * d * h + router

    @property
    def _expert_parameters(self) -> int:
        """Matrices of one gated MLP, 3·h·I."""
        return 3 * self.hidden_size * self.intermediate_size

    @property
    def linear_parameters(self) -> int:
        """Parameters of all layers' matrices, every expert included: no lm_head, no embedding."""
        per_layer = self._attention_parameters + self.num_experts * self._expert_parameters
        return self.num_hidden_layers * per_layer

    @property
    def active_linear_parameters(self) -> int:
        """Those of them that one token is multiplied with."""
        per_layer = self._attention_parameters + self.experts_per_token * self._expert_parameters
        return self.num_hidden_layers * per_layer

    @property
    def bytes_per_weight(self) -> float:
        """Bytes of a value of the layers' matrices, scales included (nvfp4: one byte for 16 values)."""
        return {None: 2.0, "fp8": 1.0, "nvfp4": 0.5625}[self.quantization]

    def weight_bytes_read(self, tokens: int) -> float:
        """Return the bytes of the layers' matrices that a step of so many tokens is expected to read.

        With experts: those that at least one token picks, if each picks evenly and by itself.
        """
        reached = float(self.num_experts)
        if self.num_experts > 1:
            reached *= 1 - (1 - self.experts_per_token / self.num_experts) ** tokens
        per_layer = self._attention_parameters + reached * self._expert_parameters
        return self.num_hidden_layers * per_layer * self.bytes_per_weight

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
        others = self.parameters - self.linear_parameters
        return int(self.linear_parameters * self.bytes_per_weight) + others * self.bytes_per_value

    @property
    def kv_bytes_per_token(self) -> int:
        """KV-cache bytes of one token over all layers: 2·K·d·L values."""
        return 2 * self.num_key_value_heads * self.head_dim * self.num_hidden_layers * self.bytes_per_value


def list_models() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return shipped_names("models")


def load_model(name_or_path: str, base_dir: Path | None = None) -> Model:
    """Return a shipped model, or the one in a Hugging Face ``config.json`` (or its folder).

    A shipped one goes by its name, the beginning of it where no other begins so (``llama-3.1-8b``), or its id on the
    hub (``meta-llama/Llama-3.1-8B-Instruct``). A relative path is taken from ``base_dir``, or the working folder.
    Raises InputError for an unknown name (with the nearest one), an unreadable or malformed file (with
    the key), and an architecture that the cost model does not describe (with the field that shows it).
    """
    path = (base_dir or Path()) / name_or_path
    exact = name_or_path in list_models()  # before a folder of that name
    name = name_or_path if exact else None if path.exists() else _shipped(name_or_path)
    if name is not None:
        path = shipped_path("models", name)
        table = read_toml(path)
        config = table.get("config")
        if not isinstance(config, dict):
            raise InputError(f"{path}: table [config] is missing")
        return _model(name, f"{table.get('source', path)}", parse_config(config, str(path)))
    if path.is_dir():
        path = path / "config.json"
    if name_or_path.endswith(".json") or path.is_file():
        name = path.parent.name if path.name == "config.json" else path.stem
        return _model(name or path.stem, str(path), parse_config(read_config(path), str(path)))
    raise unknown("model", name_or_path, list_models(), "the path of a Hugging Face config.json")


def _shipped(name: str) -> str | None:
    """Return the shipped model that is meant by a beginning of its name or an id on the hub; None: there is none.

    A model that was tuned to follow instructions has the layers of the one that it was made from.
    """
    found = full_name("model", name, list_models())
    if found is not None or "/" not in name:
        return found
    wanted = name.lower().removesuffix("-instruct")
    for shipped in list_models():
        source = str(read_toml(shipped_path("models", shipped)).get("source", ""))
        hub_id = source.partition(",")[0].removeprefix("huggingface.co/").lower()
        if hub_id.removesuffix("-instruct") == wanted:
            return shipped
    return None


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
        intermediate_size=config.moe_intermediate_size or config.intermediate_size,
        vocab_size=config.vocab_size,
        max_position_embeddings=config.max_position_embeddings,
        tie_word_embeddings=config.tie_word_embeddings,
        torch_dtype=config.torch_dtype,
        # Qwen2 always has biases on q, k and v, and its config.json does not say so.
        qkv_bias=bias or config.model_type == "qwen2",
        output_bias=bias,
        mlp_bias=config.mlp_bias,
        qk_norm=config.model_type in ("qwen3", "qwen3_moe"),
        num_experts=config.experts or 1,
        experts_per_token=config.num_experts_per_tok if config.experts and config.num_experts_per_tok else 1,
        quantization=config.quantization,
    )
