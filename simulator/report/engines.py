"""The engine of a run in words: its name, what it adds to the kernels, and whether that was measured."""

from collections.abc import Mapping
from typing import Any


def engine_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Which engine served, with the overheads it was given; nothing for runs that were saved without it."""
    engine = manifest["engine"]
    if "profile" not in engine:
        return []
    names = dict.fromkeys(pool.get("engine", engine["profile"]) for pool in manifest["pools"])
    text = f"{' and '.join(names)} ({engine['description']})"
    note = engine["overheads_note"] if engine["overheads_measured"] else "its own were never measured"
    remarks = dict.fromkeys(
        f"{pool['scheduling']} stands for an engine whose own overheads were never measured; {known}"
        for pool in manifest["pools"]
        if (known := pool.get("unmeasured_overheads"))
    )
    return [text, f"overheads: {engine['overheads']}{f' ({note})' if note else ''}", *remarks]
