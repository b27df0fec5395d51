"""What a run or a plan says of energy, in words."""

from collections.abc import Mapping
from typing import Any

from simulator.report.text import number, percent

DOUBT = "an estimate, not validated: GPUs alone, without hosts and cooling"


def drawn(summary: Mapping[str, Any]) -> list[str]:
    """Return what GPUs drew over the whole run, and what that costs; nothing where it was not asked for."""
    energy = summary.get("energy")
    if energy is None or energy["watts_per_gpu"] is None:
        return []
    per_token, usd = energy["joules_per_output_token"], energy["usd"]
    words = [
        f"{number(energy['kwh'])} kWh in the whole run, {number(energy['watts_per_gpu'])} W a GPU"
        f" ({percent(energy['idle_share'])} of it idle)",
        *([] if per_token is None else [f"{number(per_token)} J an output token"]),
        *([f"US$ {number(usd)} of electricity"] if usd else []),
    ]
    return [", ".join(words), DOUBT]
