"""User models by name: a preset fills every field of ``UserModel`` that is not given beside it."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """A named user model."""

    fields: Mapping[str, Any]  # of ``UserModel``, what differs from ``STEADY``
    says: str  # in one sentence, with its source


# What a field is where no preset says otherwise: a steady reader whose second of waiting costs what it would have read.
STEADY: Mapping[str, Any] = {
    "v_s_per_token": 0.05,
    "alpha": None,
    "f": "linear",
    "f_scale_s": 1.0,
    "origin": "arrival",
    "first_token_allowance_s": 0.0,
    "unserved": "asks_again",
    "weight_input": 0.0,
    "weight_output": 1.0,
    "reads": "token",
    "fatigue": 0.0,
    "skim_after_tokens": 0,
    "skim_speedup": 1.0,
    "thinking_share": 0.0,
    "weight_thinking": None,
}

DEFAULT = "reader_20tps"
PRESETS: Mapping[str, Preset] = {
    "reader_20tps": Preset(
        {}, "20 tokens/s from the arrival on, alpha = 1/V: v1's speed with v2's origin, stricter than both."
    ),
    "paper_v2": Preset(
        {"v_s_per_token": 0.2, "alpha": 2.5},
        "5 tokens/s from the arrival on, alpha = 2.5 (arXiv 2410.14257v2, section 5.2); f linear is our reading.",
    ),
    "paper_v1": Preset(
        {"origin": "first_token"},
        "20 tokens/s from the first token on (arXiv 2410.14257v1); its alpha is not known: 1/V is ours.",
    ),
    "chat": Preset(
        {"v_s_per_token": 0.19, "first_token_allowance_s": 1.0},
        "Silent reading, 238 words/min (Brysbaert 2019) of 4/3 tokens (OpenAI's rule of thumb); S is assumed.",
    ),
    "summary": Preset(
        {"v_s_per_token": 0.19, "first_token_allowance_s": 5.0, "reads": "paragraph"},
        "The same reader of a document's summary, paragraph by paragraph; units and S are assumed.",
    ),
    "voice": Preset(
        {"v_s_per_token": 0.3, "first_token_allowance_s": 1.0, "reads": "sentence"},
        "Speech of 150 words/min, made sentence by sentence; speed, units and S are assumed.",
    ),
    "code_completion": Preset(
        {"v_s_per_token": 0.0, "alpha": 20.0, "first_token_allowance_s": 0.5, "reads": "answer"},
        "A completion that is of use as a whole and within half a second; S and alpha are assumed.",
    ),
    "agent": Preset(
        {"v_s_per_token": 0.0, "alpha": 20.0, "first_token_allowance_s": 10.0, "reads": "answer"},
        "A program that reads nothing until the end and plans with 10 s; S and alpha are assumed.",
    ),
    "reasoning": Preset(
        {"v_s_per_token": 0.19, "first_token_allowance_s": 10.0, "thinking_share": 0.8, "weight_thinking": 0.0},
        "The chat's reader of what follows the thinking, which is worth nothing by itself; share and S are assumed.",
    ),
}  # fmt: skip


def of_preset(name: str) -> dict[str, Any]:
    """Return the value of each field under a preset; KeyError for a name that is none."""
    return {**STEADY, **PRESETS[name].fields}


def beside_preset(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields whose values are not those of the preset that ``given`` names, without that name.

    A field that is None is not given. Of a preset that there is not, all are beside it.
    """
    name = given.get("preset", DEFAULT)
    values = of_preset(name) if name in PRESETS else {}
    return {
        key: value
        for key, value in given.items()
        if key != "preset" and value is not None and not (key in values and value == values[key])
    }
