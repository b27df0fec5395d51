"""The GPUs of a plan: what they cost, and which are tried where a plan names none."""

from functools import lru_cache
from pathlib import Path

from hardware_profiles import list_gpus, load_gpu, load_model
from hardware_profiles.validated import corner_of, is_validated, kind_of, weights_of
from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.scenario.served_model import served_model


def usd_per_hour(scenario: Scenario, base_dir: Path | None) -> float:
    """Price of all GPUs of a scenario, US$ an hour, from the GPUs' profiles."""
    cluster, size, gpu = scenario.cluster, scenario.engine.tensor_parallel_size, scenario.hardware.gpu
    if cluster.prefill is None or cluster.decode is None:
        return cluster.replicas * size * scenario.engine.pipeline_parallel_size * _price(gpu, base_dir)
    pools = (cluster.prefill, cluster.decode)
    return sum(
        pool.replicas * (pool.tensor_parallel_size or size) * _price(pool.gpu or gpu, base_dir)
        for pool in pools
    )


@lru_cache
def _price(gpu: str, base_dir: Path | None) -> float:
    return load_gpu(gpu, base_dir).usd_per_hour


def usual_gpus(path: Path, base: Scenario, base_dir: Path | None, allow_unvalidated: bool) -> list[str]:
    """Return the shipped GPUs with measured step times, and unless told else with a measured server, too."""
    measured = [name for name in list_gpus() if load_gpu(name).kernel_fit.error is not None]
    if allow_unvalidated:
        return measured
    model = served_model(load_model(base.hardware.model, base_dir), base.hardware, base.engine)
    found = [name for name in measured if is_validated(corner_of(name, model))]
    if not found:
        raise InputError(
            f"{path}: space.gpus: no server with a {kind_of(model)} {weights_of(model)} model was measured on any GPU;"
            " expected names of GPUs, or allow_unvalidated = true (--allow-unvalidated)"
        )
    return found
