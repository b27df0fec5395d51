"""The protocol of the figures and claims, read from ``protocol.toml`` and checked."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from simulator.errors import InputError
from simulator.input_files import parse_toml, read_text
from simulator.metrics._options import UserModel
from simulator.metrics._window import Window
from simulator.scenario.errors import sentence
from simulator.scenario.scenario import Scenario

_Protocol = TypeVar("_Protocol", bound=BaseModel)
FILE = Path(__file__).with_name("protocol.toml")


class Section(BaseModel):
    """A table of the file, in which no key is unknown and none is missing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineSettings(Section):
    """How an engine is set up."""

    profile: str
    scheduling: dict[str, Any]
    max_num_batched_tokens: int


class ModelSettings(Section):
    """A model, and the GPU that it is on."""

    model: str
    gpu: str


class ServerSettings(Section):
    """What serves; one replica."""

    max_model_len: int
    models: dict[str, ModelSettings]  # by title
    engines: dict[str, EngineSettings]  # by title


class SweptTraffic(Section):
    """What arrives, for how long, and at which rate load is 1."""

    workload: dict[str, Any]
    arrivals_s: float
    load_1_rps: dict[str, float]  # by title of the model


class Setup(Section):
    """What one version of the paper combined: titles of models, traffic and engines."""

    models: tuple[str, ...]
    traffic: tuple[str, ...]
    engines: tuple[str, ...]
    user: dict[str, Any] | None = None  # where it is not that of the verdicts


class SweepSettings(Section):
    """What the sweeps over rates have in common."""

    loads: tuple[float, ...]
    horizons: tuple[float, ...]
    alphas: tuple[float, ...]
    traffic: dict[str, SweptTraffic]  # by title


class StallSettings(Section):
    """Where stalls are looked at, and what one is."""

    load: float
    stall_s: float


class DelaySettings(Section):
    """Where tokens are held back, by how much, and the objective that it games."""

    place: tuple[str, str, str]
    load: float
    ttft_s: float
    tail_tbt_s: float
    gaps_s: tuple[float, ...]
    even_s: float
    holds_s: tuple[float, ...]


class DropSettings(Section):
    """Where requests are dropped, and when."""

    places: tuple[tuple[str, str, str], ...]
    loads: tuple[float, ...]
    overloads: tuple[float, ...]
    ttft_s: float
    readings: dict[str, dict[str, Any]]


class TimelineSettings(Section):
    """What the figures of single requests have in common."""

    model: str
    engines: tuple[tuple[str, str], ...]  # without chunks, and with them
    traffic: tuple[str, ...]
    loads: tuple[float, ...]
    fig2_tokens_per_s: float
    fig10_tokens_per_s: float
    stalled: float


class PooledTraffic(Section):
    """What arrives at a cluster of prefill and decode replicas, and what one replica of each role can serve of it."""

    workload: dict[str, Any]
    prefill_rps: dict[str, float]  # by model
    decode_rps: dict[str, float]


class ClusterState(Section):
    """How much arrives, and whether a decode replica is slow meanwhile."""

    load: float
    slow_factor: float = 1.0


class DisaggregationSettings(Section):
    """In what the triggers of moves and preemptions are compared."""

    models: tuple[str, ...]
    gpu: str
    engine: dict[str, Any]
    layouts: tuple[str, ...]
    cluster: dict[str, Any]
    arrivals_s: float
    slow_from_share: float
    slow_share: float
    pause_s: float
    worse_s: float
    tbt_s: dict[str, float]  # by model
    states: dict[str, ClusterState]  # by title
    traffic: dict[str, PooledTraffic]  # by title
    quick: dict[str, tuple[str, ...]]  # what of models and states --quick takes


class Protocol(Section):
    """The whole file."""

    order: tuple[str, ...]
    seeds: int
    quick_seeds: int
    margin: float
    some: float
    user: dict[str, Any]
    setups: dict[str, Setup]  # by version
    server: ServerSettings
    sweep: SweepSettings
    timelines: TimelineSettings
    disaggregation: DisaggregationSettings
    readings: dict[str, dict[str, Any]]  # by title
    tasks: dict[str, dict[str, Any]]
    stalls: StallSettings
    delaying: DelaySettings
    dropping: DropSettings
    studies: dict[str, dict[str, Any]]  # beyond the paper, by name

    @property
    def reader(self) -> UserModel:
        """The user of the verdicts."""
        return UserModel(**self.user)

    def readers(self, more: Mapping[str, dict[str, Any]] | None = None) -> dict[str, UserModel]:
        """Return the users of the other readings, and of ``more`` (``tasks``, say), by title."""
        every = {**self.readings, **(more or {})}
        return {title: UserModel(**{**self.user, **fields}) for title, fields in every.items()}


def read(path: Path, protocol: type[_Protocol]) -> _Protocol:
    """Read a protocol of some kind; raises InputError naming the file and the key that is wrong."""
    try:
        return protocol.model_validate(parse_toml(read_text(path)))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a protocol (TOML)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    except ValidationError as error:
        raise InputError(f"{path}: {sentence(error, protocol)}") from None


OWN = os.environ.get(
    "SERVESIM_PROTOCOL"
)  # set by the command, also for its processes; unset: the shipped one
PROTOCOL = read(Path(OWN) if OWN else FILE, Protocol)


def swept(
    model: str, traffic: str, engine: str, load: float, seed: int, *, share: float = 1.0, **more: Any
) -> Scenario:
    """Return one run of a sweep: the titles of model, traffic and engine, and the load (1 is ``load_1_rps``).

    ``share`` shortens the arrivals; ``more`` are further tables. All requests run to their ends, and rates are over the
    arrivals' time. Of a seed, lower rates have the first requests of higher ones.
    """
    settings, stream = PROTOCOL.server, PROTOCOL.sweep.traffic[traffic]
    kind = settings.engines[engine]
    lasts_s, rate_rps = stream.arrivals_s * share, load * stream.load_1_rps[model]
    requests = max(2, round(rate_rps * lasts_s))
    workload: dict[str, Any] = {**stream.workload, "rate_rps": rate_rps}
    if "trace" in workload:  # each seed is another stretch of it
        workload |= {"limit": requests, "start_s": 3000.0 / PROTOCOL.seeds * seed}
    else:
        workload |= {"requests": requests}
    tables: dict[str, Any] = {
        "seed": seed,
        "hardware": settings.models[model].model_dump(),
        "engine": {
            "profile": kind.profile,
            "sampler": "flashinfer",  # which takes less memory than a step of whole prompts on all of them
            "cuda_graphs_gib": 0.0,
            "max_model_len": settings.max_model_len,
            "max_num_batched_tokens": kind.max_num_batched_tokens,
        },
        "policy": {"scheduling": kind.scheduling},
        "workload": workload,
        "metrics": {"window": lasts_s},
        "user": PROTOCOL.user,
    }
    for table, fields in more.items():
        tables[table] = {**tables.get(table, {}), **fields}
    return Scenario(**tables)


def windows(traffic: str, share: float = 1.0) -> dict[str, Window]:
    """Return the windows over which runs of a sweep are measured, by title; the first is the verdict's."""
    lasts_s = PROTOCOL.sweep.traffic[traffic].arrivals_s * share
    return {f"T {each:g}": Window(lasts_s * each) for each in PROTOCOL.sweep.horizons}
