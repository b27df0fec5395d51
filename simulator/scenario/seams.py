"""What a policy of each kind has to be: the class that says so, and whether one that was written is.

The names of methods, arguments and attributes are read from the seams themselves (``simulator.policy``).
"""

import inspect
from pathlib import Path
from typing import Any, Literal

from simulator.blame import shown
from simulator.errors import InputError
from simulator.workload.checks import LARGEST_INTEGER

SHORTEST_INTERVAL_S = 1e-3  # between two looks of a policy at the cluster

PolicyKind = Literal[
    "scheduling",
    "routing",
    "admission",
    "abandonment",
    "migration",
    "delivery",
    "roles",
    "scaling",
    "acceptance",
    "expert_load",
    "expert_placement",
]

# The class in simulator.policy that a policy of each kind is like
SEAMS: dict[PolicyKind, str] = {
    "scheduling": "Scheduler",
    "routing": "Router",
    "admission": "Admission",
    "abandonment": "Abandonment",
    "migration": "Migration",
    "delivery": "Delivery",
    "roles": "Roles",
    "scaling": "Scaler",
    "acceptance": "Acceptance",
    "expert_load": "ExpertLoad",
    "expert_placement": "ExpertPlacement",
}


# What a scheduler used to say and the engine says now
OF_THE_ENGINE = (
    "pipeline_depth",
    "null_blocks",
    "overrun_tokens",
    "default_block_size",
    "reuses_partial_blocks_first",
)


def seam(kind: PolicyKind) -> type[Any]:
    """Return the class that a policy of a kind is like."""
    import simulator.policy  # which listing names does without

    found: type[Any] = getattr(simulator.policy, SEAMS[kind])
    return found


def methods(kind: PolicyKind) -> dict[str, list[str]]:
    """Return the arguments that the engine passes to each method of a kind, the one it cannot do without first."""
    found = {
        name: list(inspect.signature(member).parameters)[1:]
        for name, member in vars(seam(kind)).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    abstract: frozenset[str] = getattr(seam(kind), "__abstractmethods__", frozenset())
    return dict(sorted(found.items(), key=lambda item: (item[0] not in abstract, -len(item[1]))))


def check_class(kind: PolicyKind, field: str, file: Path, policy: type[Any]) -> None:
    """Raise InputError, with file and line, unless each method is there and can be called as the engine calls it."""
    for name in OF_THE_ENGINE if kind == "scheduling" else ():
        if hasattr(policy, name):
            raise InputError(
                f"{field}: {file}: {policy.__name__}.{name} belongs to the engine; expected it in the profile that"
                " engine.profile names, and decides_each_step() of a policy that cannot plan ahead"
            )
    abstract: frozenset[str] = getattr(policy, "__abstractmethods__", frozenset())
    wanted = methods(kind)
    for method, arguments in wanted.items():
        if method in abstract or not callable(getattr(policy, method, None)):
            example = (
                "a subclass of simulator.policy.Scheduler" if kind == "scheduling" else f"a {kind} policy"
            )
            raise InputError(
                f"{field}: {file}: {policy.__name__} has no method {method}(); expected {example}"
                f" with {next(iter(wanted))}()"
            )
        own = _signature(policy, method)
        if own is None or _takes(own, arguments):
            continue
        function = inspect.unwrap(getattr(policy, method))
        code = getattr(function, "__code__", None)
        where = f"{code.co_filename}: line {code.co_firstlineno}" if code is not None else str(file)
        raise InputError(
            f"{field}: {where}: {policy.__name__}.{method} cannot be called with what the engine passes; expected"
            f" {method}({', '.join(['self', *arguments])}), got {method}{_without_types(own)}"
        )


def check_attributes(kind: PolicyKind, field: str, policy: object) -> None:
    """Raise InputError unless a policy has the numbers that its kind has to have, such as ``interval_s``."""
    like = seam(kind)
    for name in inspect.get_annotations(like):
        if hasattr(like, name):  # which then is a default
            continue
        value = getattr(policy, name, None)
        # Anything larger than 0 would do, were it not for the billions of times that a tiny one is asked
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= SHORTEST_INTERVAL_S:
            expected = "a number > 0" if not _is_tiny(value) else f"at least {SHORTEST_INTERVAL_S:g} s"
            raise InputError(
                f"{field}: {type(policy).__name__}.{name}: expected {expected}, got {shown(value)}"
                if hasattr(policy, name)
                else f"{field}: {type(policy).__name__} has no {name}; expected a number > 0"
            )
        if isinstance(value, int) and value > LARGEST_INTEGER:
            raise InputError(
                f"{field}: {type(policy).__name__}.{name}: expected at most {LARGEST_INTEGER:,}, got {shown(value)}"
            )


def _is_tiny(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < SHORTEST_INTERVAL_S


def _signature(policy: type[Any], method: str) -> inspect.Signature | None:
    """Return the signature of a method, ``self`` included; None where none can be had."""
    try:
        own = inspect.signature(getattr(policy, method))
    except (TypeError, ValueError):
        return None
    if inspect.isfunction(inspect.getattr_static(policy, method)):
        return own
    self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)  # bound to it, or to nothing
    try:
        return own.replace(parameters=[self, *own.parameters.values()])
    except ValueError:  # an argument of its own that is called self
        return None


def _takes(own: inspect.Signature, arguments: list[str]) -> bool:
    try:
        own.bind("self", *arguments)
    except TypeError:
        return False
    return True


def _without_types(own: inspect.Signature) -> str:
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in own.parameters.values()]
    return str(own.replace(parameters=bare, return_annotation=inspect.Signature.empty))
