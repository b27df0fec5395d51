"""Over how many stages a plan spreads a model that no GPUs of one stage can hold."""

from collections.abc import Sequence
from pathlib import Path

from hardware_profiles import load_gpu, load_model
from simulator.errors import InputError
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.scenario import Scenario

KEY = "engine.pipeline_parallel_size"
_STAGES = (2, 4, 8, 16)
_FITS_SURELY = 0.5  # share of the memory up to which weights leave room enough


def needed(
    base: Scenario, base_dir: Path | None, gpus: Sequence[str], sizes: Sequence[int]
) -> dict[str, dict[str, int]]:
    """Return the setting by which ``max(sizes)`` GPUs a stage hold the model, of the GPUs that need several stages."""
    found = {gpu: _fewest(base, base_dir, gpu, max(sizes)) for gpu in gpus}
    return {gpu: {KEY: stages} for gpu, stages in found.items() if stages > 1}


def _fewest(base: Scenario, base_dir: Path | None, gpu: str, size: int) -> int:
    """Return the fewest stages of ``size`` GPUs that hold the model; 1 where one holds it, or none does."""
    if base.engine.pipeline_parallel_size > 1 or base.cluster.disaggregated:
        return 1
    try:
        weights = load_model(base.hardware.model, base_dir).weight_bytes_on(size)
        if weights < _FITS_SURELY * load_gpu(gpu, base_dir).memory_bytes:
            return 1
    except InputError:  # said where candidates are judged
        return 1
    for stages in (1, *_STAGES):
        try:
            overrides = [f"hardware.gpu={gpu}", f"engine.tensor_parallel_size={size}", f"{KEY}={stages}"]
            resolve_pool(base.with_overrides(overrides), base_dir)
        except InputError:
            continue
        return stages
    return 1
