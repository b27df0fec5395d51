"""The policies of a scenario: each a name, the path of a file or, in Python, a class, with its parameters."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SkipValidation, model_serializer

from simulator.errors import InputError
from simulator.scenario.discover import PolicyKind, complete, discover
from simulator.scenario.engine import EngineSpec, Section
from simulator.scenario.given import GivenPolicy, is_given, read_given

DEFAULT_POLICY: dict[PolicyKind, str] = {
    "scheduling": "vllm_v1",
    "routing": "round_robin",
    "admission": "none",
    "abandonment": "none",
    "migration": "none",
    "delivery": "immediate",
    "roles": "fixed",
    "scaling": "none",
    "acceptance": "none",
    "expert_load": "even",
    "expert_placement": "linear",
}
# The kinds whose default does nothing
IDLE_POLICY: dict[PolicyKind, str] = {
    kind: name for kind, name in DEFAULT_POLICY.items() if kind not in ("scheduling", "routing")
}


class PolicyChoice(Section):
    """A policy by name (or path to its file) with all its parameters, defaults included."""

    name: Annotated[str, SkipValidation]  # a GivenPolicy stays one
    params: dict[str, Any] = Field(default_factory=dict)

    @model_serializer
    def _as_table(self) -> dict[str, Any]:
        return {"name": self.name, **self.params}


def choice(kind: PolicyKind, field: str = "") -> BeforeValidator:
    """Return the validator of a policy of one kind, ``field`` being its key if not ``policy.KIND``."""
    field = field or f"policy.{kind}"

    def choose(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            value = {"name": value}
        elif isinstance(value, PolicyChoice):
            value = {"name": value.name, **value.params}
        elif is_given(value):
            value = {"name": value}
        if not isinstance(value, dict):
            raise InputError(f"{field}: expected a name or a table with a name, got {value!r}")
        params = {"name": DEFAULT_POLICY[kind], **value}
        name = params.pop("name")
        if not isinstance(name, str) and is_given(name):
            policy, own = read_given(field, name)
            name, params = _named(kind, policy), own | params
        for key in params.keys() & EngineSpec.model_fields.keys():
            raise InputError(f"{field}.{key}: not a policy's parameter; expected as engine.{key}")
        if not isinstance(name, str):
            raise InputError(f"{field}.name: expected a name in quotes, got {name!r}")
        does_nothing = not params and name == IDLE_POLICY.get(kind)  # and so is not looked for
        return PolicyChoice(name=name, params={} if does_nothing else complete(kind, name, params, field))

    return BeforeValidator(choose)


def _named(kind: PolicyKind, policy: type[Any]) -> str:
    """Return the name of a shipped class, or what stands for another: its own name, if no shipped policy has it."""
    shipped, (*package, file) = discover(kind), policy.__module__.split(".")
    if package == ["policies", kind] and file in shipped:
        return file
    name = policy.__name__
    return GivenPolicy(f"{policy.__module__}.{name}" if name in shipped else name, policy)


def _default(kind: PolicyKind) -> Any:
    return Field(PolicyChoice(name=DEFAULT_POLICY[kind]), validate_default=True)


class Policy(Section):
    """Who runs next, and where; who is let in, dropped, moved; when tokens are delivered; how many serve."""

    scheduling: Annotated[PolicyChoice, choice("scheduling")] = _default("scheduling")
    routing: Annotated[PolicyChoice, choice("routing")] = _default("routing")
    admission: Annotated[PolicyChoice, choice("admission")] = _default("admission")
    abandonment: Annotated[PolicyChoice, choice("abandonment")] = _default("abandonment")
    migration: Annotated[PolicyChoice, choice("migration")] = _default("migration")
    delivery: Annotated[PolicyChoice, choice("delivery")] = _default("delivery")
    roles: Annotated[PolicyChoice, choice("roles")] = _default("roles")
    scaling: Annotated[PolicyChoice, choice("scaling")] = _default("scaling")
    acceptance: Annotated[PolicyChoice, choice("acceptance")] = _default("acceptance")
    expert_load: Annotated[PolicyChoice, choice("expert_load")] = _default("expert_load")
    expert_placement: Annotated[PolicyChoice, choice("expert_placement")] = _default("expert_placement")
