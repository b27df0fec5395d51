"""The fields of a Hugging Face ``config.json`` that all decoders have, and what a family of them is."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from hardware_profiles.layers import Layer
from simulator.errors import InputError

# Fields with an entry for each layer.
_ONE_A_LAYER = {
    "attn_type_list", "block_configs", "ffn_multipliers", "hybrid_layer_pattern", "indexer_types", "layer_types",
    "mlp_layer_types", "moe_layer_freq", "no_rope_layers", "num_kv_heads", "num_query_heads",
}  # fmt: skip
# The text part of a wrapper may leave out what its type takes for granted (transformers 4.57, configuration_*.py).
TEXT_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008,
        "vocab_size": 32000, "max_position_embeddings": 2048,
    },
    "mistral": {
        "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 32000, "max_position_embeddings": 131072,
    },
    "gemma": {
        "hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 16,
        "head_dim": 256, "intermediate_size": 24576, "vocab_size": 256000, "max_position_embeddings": 8192,
    },
    "gemma2": {
        "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "intermediate_size": 9216, "vocab_size": 256000, "max_position_embeddings": 8192,
        "sliding_window": 4096,
    },
    "gemma3_text": {
        "hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 256, "intermediate_size": 9216, "vocab_size": 262208, "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
}  # fmt: skip


class DecoderConfig(BaseModel):
    """The fields that decide cost and memory; a family adds its own, the rest is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, protected_namespaces=())

    divides_width: ClassVar[bool] = True  # among heads, where there is no head_dim

    where: str  # the file, for refusals
    prefix: str  # what the names of a checkpoint's layers begin with
    model_type: str
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1)
    head_dim: int | None = Field(default=None, ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1)
    model_max_length: int | None = Field(default=None, ge=1)
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int | None = Field(default=None, ge=1)
    use_sliding_window: bool = True
    max_window_layers: int | None = None
    layer_types: list[str] | None = None

    @property
    def kv_heads(self) -> int:
        """KV heads of a layer; as many as query heads where the config does not say."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def key_dim(self) -> int:
        """Values of one head's key."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    def refuse(self, field: str, value: object, why: str) -> NoReturn:
        """Raise InputError for a field whose value is not described here."""
        raise InputError(f"{self.where}: '{field}' ({value}) {why}")

    def check(self) -> None:
        """Raise InputError for heads that do not divide, and for lists that are not as long as there are layers."""
        for name in _ONE_A_LAYER & type(self).model_fields.keys():
            given = getattr(self, name)
            if isinstance(given, list) and len(given) != self.num_hidden_layers:
                self.refuse(name, f"{len(given)} entries", f"must have {self.num_hidden_layers}")
        heads = self.num_attention_heads
        if self.num_key_value_heads is not None and heads % self.num_key_value_heads:
            self.refuse(
                "num_attention_heads",
                heads,
                f"must be a multiple of 'num_key_value_heads' ({self.num_key_value_heads})",
            )
        if self.divides_width and self.head_dim is None and self.hidden_size % heads:
            self.refuse(
                "hidden_size",
                self.hidden_size,
                f"must be a multiple of 'num_attention_heads' ({heads}) when 'head_dim' is absent",
            )

    def layer(self, index: int) -> str:
        """Return the name of a layer in the checkpoint."""
        return f"{self.prefix}layers.{index}"

    def kinds(self, known: Sequence[str]) -> list[str] | None:
        """Return ``layer_types``, one a layer; None if absent. Raises InputError for a kind not in ``known``."""
        if self.layer_types is None:
            return None
        other = next((kind for kind in self.layer_types if kind not in known), None)
        if other is not None:
            raise InputError(
                f"{self.where}: 'layer_types' has '{other}', which is not supported yet in"
                f" '{self.model_type}'; expected {' or '.join(known)}"
            )
        return self.layer_types

    def windows(self, usual: Callable[[int], bool] = lambda index: True) -> list[int | None]:
        """Return each layer's window in tokens, None for full attention.

        ``usual`` says which layers have the window where ``layer_types`` does not.
        """
        kinds = self.kinds(("full_attention", "sliding_attention", "chunked_attention"))
        window = self.sliding_window
        if window is None or not self.use_sliding_window or window >= self.max_position_embeddings:
            return [None] * self.num_hidden_layers
        if kinds is None:
            kinds = ["" if usual(i) else "full_attention" for i in range(self.num_hidden_layers)]
        return [None if kind == "full_attention" else window for kind in kinds]


class ExpertConfig(DecoderConfig):
    """The fields of a mixture of experts that most families share."""

    experts: int | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("num_local_experts", "num_experts", "n_routed_experts"),
    )
    experts_per_token: int | None = Field(
        default=None,
        ge=1,
        validation_alias=AliasChoices("num_experts_per_tok", "experts_per_token", "num_experts_per_token"),
    )
    moe_intermediate_size: int | None = Field(default=None, ge=1)

    @property
    def expert_width(self) -> int:
        """Values between the matrices of one expert."""
        return self.moe_intermediate_size or self.intermediate_size

    @property
    def routed(self) -> tuple[int, int]:
        """How many experts a layer has, and how many a token picks. Raises InputError where that cannot be."""
        experts, active = self.experts, self.experts_per_token
        if experts is None:
            raise InputError(f"{self.where}: key 'num_experts' is missing")
        if active is None or active > experts:
            self.refuse("num_experts_per_tok", active, f"must be 1 to {experts}, the number of experts")
        return experts, active


class Family(NamedTuple):
    """How the layers of a family of models follow from their config."""

    config: type[DecoderConfig]
    layers: Callable[[Any], list[Layer]]
    final: Callable[[Any], int] = lambda config: int(
        config.hidden_size
    )  # parameters after the layers: a norm
    tied: bool = False  # whether embedding and head are one where the config does not say


def understood(config: type[BaseModel]) -> set[str]:
    """Return the names of all fields that a config's class reads."""
    names: set[str] = set()
    for name, field in config.model_fields.items():
        alias = field.validation_alias
        names.add(name)
        if isinstance(alias, AliasChoices):
            names.update(str(choice) for choice in alias.choices)
        elif isinstance(alias, str):
            names.add(alias)
    return names
