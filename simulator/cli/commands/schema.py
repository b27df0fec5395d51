"""``servesim schema``: the JSON schemas of scenario files and of results, for editors and other programs."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

ORDER = 31
EPILOG = """Example, for an editor that reads a schema's path from the first line of a TOML file:

\b
servesim schema > scenario.schema.json
(echo '#:schema ./scenario.schema.json'; servesim run --print-scenario) > my.toml
"""


class Described(StrEnum):
    """What there is a schema of."""

    SCENARIO = "scenario"
    SUMMARY = "summary"
    MANIFEST = "manifest"
    TABLES = "tables"


def schema(
    of: Annotated[
        Described,
        typer.Argument(help="scenario; or summary, manifest (.json) and tables (Parquet) of a result."),
    ] = Described.SCENARIO,
) -> None:
    """Print the JSON schema of scenario files, or of what a run saves."""
    if of is Described.SCENARIO:
        from simulator.scenario.schema import scenario_schema

        sys.stdout.write(json.dumps(scenario_schema(), indent=2) + "\n")
    else:
        from simulator.results.sealed import published

        sys.stdout.write(published(of.value))
