"""``servesim schema``: the JSON schema of scenario files, for editors."""

import json
import sys

ORDER = 31
EPILOG = """Example, for an editor that reads a schema's path from the first line of a TOML file:

\b
servesim schema > scenario.schema.json
(echo '#:schema ./scenario.schema.json'; servesim run --print-scenario) > my.toml
"""


def schema() -> None:
    """Print the JSON schema of scenario files."""
    from simulator.scenario.schema import scenario_schema

    sys.stdout.write(json.dumps(scenario_schema(), indent=2) + "\n")
