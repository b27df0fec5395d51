"""The whole what-if as one validated value, from TOML, from Python, and with overrides.

Every wrong value raises ``InputError``: one sentence that names the key, what was expected and what was
found. Sections are frozen; ``with_overrides`` makes a changed copy.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from simulator.errors import InputError
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._summary import on_request
from simulator.metrics._window import Window
from simulator.results.trace_level import TraceLevel
from simulator.scenario import toml as scenario_toml
from simulator.scenario.cluster import ClusterSpec
from simulator.scenario.engine import EngineSpec, Hardware, Section, Share
from simulator.scenario.errors import sentence, unknown_key
from simulator.scenario.policy import Policy
from simulator.scenario.speculation import SpeculationSpec
from simulator.scenario.toml import Override
from simulator.workload.ranges import Duration, Name
from simulator.workload.spec import WorkloadSpec


class Run(Section):
    """How long to simulate, and what part of it to measure."""

    horizon_s: Duration | None = Field(
        None, description="stop the clock here; unset: run until every request has ended"
    )
    trim_warmup: Share = Field(
        0.0, description="share of the arrivals' time left out of the measured window at its start"
    )
    trim_cooldown: Share = Field(
        0.0, description="share of the arrivals' time left out of the measured window at its end"
    )
    trace_level: TraceLevel = Field(
        "tokens", description="what is kept: every token, or only steps, requests or the summary"
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.trim_warmup + self.trim_cooldown >= 1:
            raise InputError(
                f"run.trim_warmup: with trim_cooldown = {self.trim_cooldown:g} nothing is left to measure;"
                f" expected a sum below 1, got {self.trim_warmup:g}"
            )
        return self


class Metrics(Section):
    """What time the rates are over, and what is measured besides."""

    window: Literal["arrivals", "whole"] | Duration = Field(
        "arrivals",
        description="time of the rates: arrivals (first to last), whole (to the last event), or seconds from the"
        " first arrival",
    )
    also: list[str] = Field([], description="measured only where named here: fluid_rate")

    @field_validator("window", mode="before")
    @classmethod
    def _is_a_window(cls, rule: Any) -> Any:
        return Window(rule).rule

    @field_validator("also")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in on_request():
                raise InputError(f"metrics.also: expected names of {', '.join(on_request())}, got {name!r}")
        return names


def _options(section: str, kind: type[UserModel] | type[Slo]) -> BeforeValidator:
    def make(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise InputError(f"{section}: expected a table, got {value!r}")
        known = list(kind.__dataclass_fields__)
        for key in value:
            if key not in known:
                raise InputError(unknown_key(section, key, known))
        return kind(**{key: item for key, item in value.items() if item is not None})

    return BeforeValidator(make)


class Scenario(Section):
    """Hardware, engine, cluster, policies, traffic, user and targets of one simulation.

    ``Scenario(cluster={"replicas": 2})`` takes nested tables as the TOML file has them; a policy may also be a class or
    an instance, as in ``policy={"scheduling": ShortestPrompt(ageing=50.0)}``. Raises ``InputError`` for anything that
    is not allowed.
    """

    name: Name = Field("run", description="free text; names the output folder")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="one seed, an independent stream of random numbers for each use"
    )
    hardware: Hardware = Hardware.model_construct()
    engine: EngineSpec = EngineSpec.model_construct()
    speculation: SpeculationSpec = SpeculationSpec.model_construct()
    cluster: ClusterSpec = ClusterSpec.model_construct()
    policy: Policy = Field(default_factory=Policy)
    workload: WorkloadSpec = WorkloadSpec.model_construct()
    user: Annotated[UserModel, _options("user", UserModel)] = UserModel()
    slo: Annotated[Slo, _options("slo", Slo)] = Slo()
    metrics: Metrics = Metrics.model_construct()
    run: Run = Run.model_construct()

    @property
    def window(self) -> Window:
        """What part of the run is measured."""
        return Window(self.metrics.window, self.run.trim_warmup, self.run.trim_cooldown)

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        horizon_s, seconds = self.run.horizon_s, self.metrics.window
        if horizon_s is not None and not isinstance(seconds, str) and seconds > horizon_s:
            raise InputError(
                f"metrics.window: {seconds:g} s is longer than the run, which ends at run.horizon_s = {horizon_s:g};"
                " expected no more"
            )
        _ = self.window  # raises
        return self

    @model_validator(mode="after")
    def _roles_need_pools(self) -> Self:
        if self.policy.roles.name != "fixed" and not self.cluster.disaggregated:
            raise InputError(
                f"policy.roles: {self.policy.roles.name!r} in a cluster whose replicas all do the same; expected"
                " cluster.prefill and cluster.decode beside it, or 'fixed'"
            )
        if self.cluster.pools and self.policy.migration.name != "none":
            raise InputError(
                f"policy.migration: {self.policy.migration.name!r} with cluster.pools, whose KV caches are unlike;"
                " expected 'none'"
            )
        self.cluster.check_replicas(self.policy)
        return self

    def __init__(self, **tables: Any) -> None:
        """Validate ``tables``: the keys and sections of a scenario file, as Python values."""
        try:
            super().__init__(**_plain(tables))
        except ValidationError as error:
            raise InputError(sentence(error, type(self))) from error

    @classmethod
    def from_toml(cls, path: str | Path, overrides: Sequence[Override] = ()) -> "Scenario":
        """Read a scenario file and apply ``section.key=value`` overrides to it.

        Its name is the file's unless it says otherwise. Raises ``InputError`` naming the file, and the
        line for a TOML syntax error.
        """
        path = Path(path)
        tables = {"name": path.stem, **scenario_toml.read(path)}
        _find_policy_files(tables, path.parent)
        return cls.from_tables(tables, overrides, source=f"{path}: ")

    def with_overrides(self, overrides: Sequence[Override]) -> "Scenario":
        """Return a copy with ``section.key=value`` applied in order; or keys with Python values, as pairs.

        Values are read as TOML, else as text; ``none`` puts a key back to its default;
        ``policy.scheduling.watermark=0.01`` sets one parameter and keeps the policy.
        Raises ``InputError`` as the constructor does.
        """
        return self.from_tables(self.to_tables(), overrides)

    def to_tables(self) -> dict[str, Any]:
        """Return what was set as plain nested tables, without the keys left at their default."""
        tables = self.model_dump(exclude_unset=True, exclude_none=True)
        return {key: value for key, value in tables.items() if value != {}}

    def to_toml(self) -> str:
        """Return a scenario file with every default spelled out and explained; it parses back to this.

        A policy given as a class is named by its file; raises ``InputError`` for one that is not alone in one.
        """
        return scenario_toml.write(self)

    @classmethod
    def from_tables(
        cls, tables: dict[str, Any], overrides: Sequence[Override] = (), source: str = ""
    ) -> "Scenario":
        """Return the scenario of nested tables as ``with_overrides`` changes them.

        Raises ``InputError`` as the constructor does; ``source`` is what it begins with where no override is at fault.
        """
        given = tables
        tables = deepcopy(tables)
        for override in sorted(overrides, key=_changes_one_key):
            scenario_toml.apply_override(tables, override)
        try:
            return cls(**tables)
        except InputError as error:
            typed = any(isinstance(each, str) for each in overrides)
            blame = "--set " if typed and str(error) != cls._problem(given) else source
            raise InputError(f"{blame}{error}") from error

    @classmethod
    def _problem(cls, tables: dict[str, Any]) -> str | None:
        try:
            cls(**tables)
        except InputError as error:
            return str(error)
        return None


def default_scenario(overrides: Sequence[Override] = ()) -> Scenario:
    """Return what ``servesim run`` simulates without a file: an hour of Azure chat on two H100s, or as changed.

    Unless a name is given it is named after its traffic.
    """
    own = "cluster.prefill", "cluster.decode", "cluster.pools"
    pools = any(scenario_toml.key_of(each).startswith(own) for each in overrides)
    scenario = Scenario.from_tables({} if pools else {"cluster": {"replicas": 2}}, overrides)
    if "name" in scenario.model_fields_set:
        return scenario
    traffic = scenario.workload.arrivals or Path(scenario.workload.trace or "").name.split(".")[0]
    name = traffic.replace("_", "-") or "run"
    return scenario.model_copy(update={"name": name})


def _changes_one_key(override: Override) -> bool:
    """False, and so first, for a preset: what else is set goes beside it."""
    return scenario_toml.key_of(override) != "user.preset"


def _plain(value: Any) -> Any:
    """Turn numpy scalars, as sweeps make them, into the plain numbers that strict typing asks for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value


def _find_policy_files(tables: dict[str, Any], folder: Path) -> None:
    """Make the path of a policy file that lies beside the scenario file independent of the cwd."""
    policies = tables.get("policy")
    if not isinstance(policies, dict):
        return
    for kind, choice in policies.items():
        name = choice.get("name") if isinstance(choice, dict) else choice
        if isinstance(name, str) and name.endswith(".py") and (folder / name).is_file():
            found = str((folder / name).resolve())
            policies[kind] = {**choice, "name": found} if isinstance(choice, dict) else found
