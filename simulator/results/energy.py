"""What a run's GPUs drew, and what that costs, over the whole run: estimates that were not compared with a wattmeter.

The watts of steps are in the manifest as ``simulator.scenario.energy`` made them; GPUs alone, without their hosts.
"""

from collections.abc import Mapping
from typing import Any

from simulator.metrics import Measure, RequestLog

JOULES_A_KWH = 3.6e6
MEASURES = (
    Measure("energy.kwh", "energy, not validated", "kWh", shown=(), least=0),
    Measure("energy.idle_share", "drawn by idle GPUs, not validated", "share of the energy", shown=()),
    Measure("energy.watts_per_gpu", "power, not validated", "W a GPU, on average", shown=(), least=0),
    Measure(
        "energy.joules_per_output_token", "energy, not validated", "J an output token", shown=("compare",), least=0
    ),
    Measure("energy.usd", "electricity, not validated", "US$", shown=(), least=0),
    Measure("energy.usd_per_hour", "electricity, not validated", "US$ an hour", shown=(), least=0),
    Measure(
        "energy.usd_per_million_output_tokens", "electricity, not validated", "US$ per million output tokens",
        shown=("compare",), least=0,
    ),
)  # fmt: skip


def energy(manifest: Mapping[str, Any], log: RequestLog) -> dict[str, Any]:
    """Return the numbers of the whole run under ``energy``; nothing where energy was not asked for.

    All tokens count that were delivered. ``idle_share`` is what the GPUs would have drawn anyway.
    """
    said = manifest.get("energy")
    if said is None:
        return {}
    idle_j = sum(pool["idle_j"] for pool in said["pools"])
    joules = idle_j + sum(pool["steps_j"] for pool in said["pools"])
    gpu_s = sum(pool["idle_j"] / pool["idle_w"] for pool in said["pools"])
    tokens, kwh = int(log.token_counts.sum()), joules / JOULES_A_KWH
    price, hours = manifest["scenario"]["hardware"].get("usd_per_kwh"), said["seconds"] / 3600
    usd = None if price is None else price * kwh
    return {
        "energy": {
            "kwh": kwh,
            "idle_share": idle_j / joules if joules else None,
            "watts_per_gpu": joules / gpu_s if gpu_s else None,
            "joules_per_output_token": joules / tokens if tokens else None,
            "usd": usd,
            "usd_per_hour": usd / hours if usd is not None and hours else None,
            "usd_per_million_output_tokens": usd / tokens * 1e6 if usd is not None and tokens else None,
        }
    }
