"""A folder in which a run of a real server was saved (``simulator.results.measured``), read back as such a run."""

import sys
from pathlib import Path
from typing import Any

from simulator.arrays import Columns
from simulator.errors import InputError
from simulator.results.imports._served import ServedRun
from simulator.results.saved import read_folder

# Columns of its requests that a run has by other names, or makes anew; all others it carries.
_MADE = ("request_id", "delivered_tokens", "first_scheduled_s")
_NAMED = {"first_token_s": "first_s", "last_token_s": "last_s"}
_OWN = ("arrival_s", "prompt_tokens", "output_tokens", "thinking_tokens", "state", "end_s", *_NAMED)


def folder_run(folder: Path) -> ServedRun:
    """Return the run that was saved in a folder.

    Raises InputError for the folder of a simulation, one that holds no run, and a damaged one.
    """
    tables, manifest, _ = read_folder(folder, sys.maxsize)
    if "measured" not in manifest:
        raise InputError(
            f"{folder}: the folder of a simulation; expected that of a real server, or servesim show for this one"
        )
    requests: Columns = tables["requests"]
    own: dict[str, Any] = {_NAMED.get(name, name): requests[name] for name in _OWN if name in requests}
    measured = manifest["measured"]
    return ServedRun(
        name=manifest["scenario"]["name"],
        tool=measured["tool"],
        **{"thinking_tokens": None, **own},
        delivered_s=tables["tokens"]["delivered_s"] if "tokens" in tables else None,
        end_of_run_s=manifest["end_of_run_s"],
        has_times=measured.get("has_times", True),
        model=manifest["scenario"].get("hardware", {}).get("model"),
        notes=list(measured["notes"]),
        columns={name: column for name, column in requests.items() if name not in (*_OWN, *_MADE)},
        partial=manifest["partial"],
    )
