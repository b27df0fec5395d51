"""The GPUs of a plan: what they cost, and which are tried where a plan names none."""

from functools import lru_cache
from pathlib import Path

from hardware_profiles import list_gpus, load_gpu, load_model
from hardware_profiles.validated import corner_of, is_validated, kind_of, weights_of
from simulator.errors import InputError
from simulator.scenario.scenario import Scenario
from simulator.scenario.served_model import served_model


def gpus_of(scenario: Scenario) -> dict[str, int]:
    """Return how many GPUs of each type a scenario has."""
    cluster, engine, gpu = scenario.cluster, scenario.engine, scenario.hardware.gpu
    stages = 1 if cluster.disaggregated else engine.pipeline_parallel_size
    found: dict[str, int] = {}
    for pool in cluster.named_pools.values() or [cluster]:
        size = getattr(pool, "tensor_parallel_size", None) or engine.tensor_parallel_size
        name = getattr(pool, "gpu", None) or gpu
        ranks = getattr(pool, "data_parallel_size", None) or engine.data_parallel_size
        found[name] = found.get(name, 0) + pool.replicas * ranks * size * stages
    return found


def usd_per_hour(scenario: Scenario, base_dir: Path | None) -> float:
    """Price of all GPUs of a scenario, US$ an hour, from the GPUs' profiles."""
    return sum(many * price_of(gpu, base_dir) for gpu, many in gpus_of(scenario).items())


@lru_cache
def price_of(gpu: str, base_dir: Path | None) -> float:
    """Return what a GPU costs by its profile, US$ an hour."""
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
