"""What is wrong with a scenario, in one sentence: the key, what was expected, what was found."""

from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError

from simulator.errors import InputError
from simulator.scenario.discover import nearest


def unknown_key(section: str, key: str, known: list[str]) -> str:
    """Return the sentence that refuses a key, with the nearest and all known ones."""
    where = f"{section}.{key}" if section else key
    return f"{where}: unknown key; {nearest(key, known)}expected one of {', '.join(known)}"


_EXPECTED = {
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number >= {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number <= {le}",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list such as [0.2, 0.8]",
    "too_short": "a list that is not empty",
    "string_type": "text in quotes",
    "string_pattern_mismatch": "one line of text",
    "literal_error": "one of {expected}",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """Say in one sentence what pydantic found first, and how many more problems there are."""
    problems = error.errors()
    first = problems[0]
    path = [str(part) for part in first["loc"]]
    context = first.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, InputError):
        text = str(cause)
    elif first["type"] == "extra_forbidden":
        known = _section(model, path[:-1]).model_fields
        text = unknown_key(".".join(path[:-1]), path[-1], list(known))
    elif first["type"] == "missing":
        text = f"{'.'.join(path)}: missing; expected in {first['input']!r}"
    else:
        expected = _EXPECTED.get(first["type"])
        got = repr(first["input"])
        bounds = {key: f"{bound:g}" if isinstance(bound, float) else bound for key, bound in context.items()}
        wanted = f"expected {expected.format(**bounds)}" if expected else first["msg"]
        text = f"{'.'.join(path)}: {wanted}, got {got if len(got) <= 60 else got[:57] + '...'}"
    more = len(problems) - 1
    return f"{text} (and {more} more problem{'s' if more > 1 else ''})" if more else text


def _section(model: type[BaseModel], path: list[str]) -> type[BaseModel]:
    """Return the table at a path, also behind an ``X | None``, inside a list or under a name."""
    parts = iter(path)
    for part in parts:
        if part.isdigit():
            continue
        inner = model.model_fields[part].annotation
        choices = [inner, *get_args(inner)]
        named = [each for each in choices if get_origin(each) is dict]
        if named:
            next(parts, None)  # the name
            choices = [*get_args(named[0])]
        model = next(each for each in choices if isinstance(each, type) and issubclass(each, BaseModel))
    return model
