"""The pages made from the code: commands, keys, policies, engines, file formats, user models, numbers of a summary.

    python -m tests.reference_pages

writes them anew; ``tests/cli/test_reference_pages.py`` fails while a page says something else.
"""

import dataclasses
import importlib
import inspect
import math
import pkgutil
import re
import sys
import textwrap
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import typer.main

import simulator.report.exports
import simulator.results.imports
import simulator.workload.formats
from hardware_profiles.engine import list_engines, load_engine
from simulator.cli.app import build
from simulator.metrics import UserModel
from simulator.metrics._options import UNIT_TOKENS
from simulator.metrics._presets import PRESETS
from simulator.replica.request import FIELDS
from simulator.results.vocabulary import vocabulary
from simulator.scenario.discover import KINDS, discover, load
from simulator.scenario.scenario import default_scenario
from simulator.scenario.toml import as_toml, parameter_comment, write
from simulator.workload.formats import servesim

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- made by: python -m tests.reference_pages -->\n", "<!-- end -->\n"


def keys():
    """Return a table for each section of the scenario file: key, default, what it means."""
    found, of = ["| key | default | what |", "|---|---|---|"], ""
    for line in write(default_scenario()).splitlines():
        if section := re.fullmatch(r"\[(.+)\]", line):
            of = section[1]
            found += ["", f"## `[{of}]`", "", "| key | default | what |", "|---|---|---|"]
        elif key := re.fullmatch(r"(?:# )?(\w+) = ?(.*?)(?:\s+# (.*))?", line):
            name, default, said = key.groups()
            said = "by name, or the path of a file" if name == "name" and of else said or ""
            shown = f"`{default.strip()}`" if default.strip() and not line.startswith("#") else "unset"
            found.append(f"| `{name}` | {shown} | {escaped(said)} |")
    return "\n".join(found) + "\n"


def measures():
    """Return the table of all numbers that have a name: key, what it is called, its unit, which way is better."""
    found = ["| key | called | unit | better |", "|---|---|---|---|"]
    for key, each in sorted(vocabulary().items()):
        better = "" if key.startswith("engine.") else "more" if each.higher_is_better else "less"
        found.append(f"| `{key}` | {escaped(each.label)} | {escaped(each.unit)} | {better} |")
    return "\n".join(found) + "\n"


def policies():
    """Return a section for each kind of policy: of each its rule and source, as its file says them, and parameters."""
    found = []
    for kind in KINDS:
        found += [f"## `policy.{kind}`", ""]
        for name in discover(kind):
            policy = load(kind, name)
            said = [
                sys.modules[policy.__module__].__doc__ or "",
                *(inspect.getdoc(policy) or "").split("\n\n"),
            ]
            rows = list(parameters_of(policy))
            found += [f"### `{name}`", "", *wrapped(plain(" ".join(said))), ""]
            if rows:
                found += ["| parameter | default | what |", "|---|---|---|", *rows, ""]
    return "\n".join(found[:-1]) + "\n"


def commands():
    """Return a table of all commands: how each is called, and what it does, as its own help says it."""
    found = ["| command | what |", "|---|---|"]
    for words, command in sorted(leaves(typer.main.get_command(build()))):
        places = [
            each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"
        ]
        found.append(
            f"| `{escaped(' '.join(('servesim', words, *places)))}` | {plain(first(command.help))} |"
        )
    return "\n".join(found) + "\n"


def leaves(command, words=()):
    """Yield each command that has none below it, with its words."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*words, name))
    if not hasattr(command, "commands"):
        yield " ".join(words), command


def first(text):
    """Return the first paragraph of a text."""
    return text.split("\n\n")[0]


def engines():
    """Return a table of the engines that ship: what they are, their rules, and whether overheads are their own."""
    head = (
        "`engine.profile`",
        "what it is",
        "steps planned ahead",
        "null blocks",
        "longest sequence",
        "block",
        "overheads",
    )
    rows = [head, ("---",) * len(head)]
    for name in list_engines():
        engine = load_engine(name)
        rules, beyond = engine.rules, engine.rules.overrun_tokens
        longest = f"`max_model_len`{f' {beyond:+}' if beyond else ''}"
        fitted = ", ".join(f"`{each}`" for each in engine.overheads.fitted) or "never measured"
        ahead, null, block = rules.pipeline_depth - 1, rules.null_blocks, engine.defaults.block_size
        rows.append((f"`{name}`", engine.description, str(ahead), str(null), longest, str(block), fitted))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def formats():
    """Return a table of the files that are read and written: traces, results of load testers, exports."""
    found = ["## Columns of a trace", "", "| column | what |", "|---|---|"]
    means = {column: FIELDS[name].means for name, column in servesim.FORMAT.fields.items()}
    for each in dataclasses.fields(servesim.FORMAT):
        column = getattr(servesim.FORMAT, each.name)
        if isinstance(column, str) and column not in servesim.FORMAT.columns:
            means[column] = parameter_comment(type(servesim.FORMAT), each.name)
    found += [
        f"| `{column}` | {escaped(said).replace('NEVER:', 'empty:')} |" for column, said in means.items()
    ]
    for title, package in PACKAGES.items():
        found += ["", f"## {title}", "", "| format | what |", "|---|---|"]
        for each in pkgutil.iter_modules(package.__path__):
            if not each.name.startswith("_"):
                module = importlib.import_module(f"{package.__name__}.{each.name}")
                found.append(f"| `{each.name}` | {plain(module.__doc__)}{options(module)} |")
    return "\n".join(found) + "\n"


def options(module):
    """Return the options of an export with their defaults: the keyword-only parameters of its function."""
    parameters = inspect.signature(module.export).parameters if hasattr(module, "export") else {}
    named = [each for each in parameters.values() if each.kind is each.KEYWORD_ONLY]
    shown = ", ".join(f"`{each.name}={as_toml(value_of(each))}`" for each in named)
    return f" Options: {shown}." if shown else ""


def value_of(parameter):
    """Return a parameter's default, a tuple as a list."""
    return list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default


def plain(docstring):
    """Return a docstring as one line for a cell of a table."""
    return escaped(" ".join(docstring.split())).replace("``", "`")


def presets():
    """Return the table of user models: a row each, as the scenario that names it has them."""
    head = ("`user.preset`", "V, s", "alpha", "clock from", "S, s", "g(i)", "what it is")
    rows = [head, ("---",) * len(head), *map(preset, PRESETS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def preset(name):
    """Return the cells of a user model."""
    user = UserModel(preset=name)
    unit = UNIT_TOKENS[user.reads]
    read = "i" if not user.thinking_share else f"max(1, i - h), h = floor({user.thinking_share:g}·n)"
    place = "1" if unit == math.inf else read if unit == 1 else f"{unit:g}·floor((i - 1)/{unit:g}) + 1"
    alpha = "1/V" if user.alpha is None else f"{user.alpha:g}"
    clock, allowance = user.origin, f"{user.first_token_allowance_s:g}"
    said = PRESETS[name].says.removesuffix(".")
    return f"`{name}`", f"{user.v_s_per_token:g}", alpha, clock, allowance, place, said


def wrapped(text):
    """Return a paragraph's lines."""
    return textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False)


def parameters_of(policy):
    """Yield a row for each parameter of a policy: its name, its default and other choices, what it means."""
    types = get_type_hints(policy)
    for each in dataclasses.fields(policy) if dataclasses.is_dataclass(policy) else ():
        if each.init:
            default = each.default
            if default is dataclasses.MISSING:
                default = each.default_factory()
            shown = "unset" if default is None else f"`{as_toml(default)}`"
            one_of = [as_toml(other) for other in choices(types[each.name]) if other != default]
            others = "".join(f", `{other}`" for other in one_of)
            said = escaped(parameter_comment(policy, each.name)).replace("``", "`")
            yield f"| `{each.name}` | {shown}{others} | {said} |"


def choices(kind):
    """Return the values that a type allows, where it names them."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return [value for inner in get_args(kind) for value in choices(inner)]


def escaped(text):
    """Return text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


PACKAGES = {
    "Formats of traces": simulator.workload.formats,
    "Results of load testers": simulator.results.imports,
    "Exports": simulator.report.exports,
}
PAGES = {
    "command_line.md": commands,
    "engines.md": engines,
    "formats.md": formats,
    "keys.md": keys,
    "metrics.md": presets,
    "parameters.md": policies,
    "tables.md": measures,
}


def on_page(name):
    """Return what a page has between its marks."""
    return (DOCS / name).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    for name, made in PAGES.items():
        text = (DOCS / name).read_text(encoding="utf-8")
        (DOCS / name).write_text(text.replace(BEGIN + on_page(name), BEGIN + made()), encoding="utf-8")
