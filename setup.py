"""What pyproject.toml cannot say: with ``SERVESIM_COMPILE=1`` the core is built by mypyc from the same files.

Without it nothing is built, and no compiler is needed. ``make fast`` builds in place, ``make pure`` takes it away; a
compiled wheel is ``SERVESIM_COMPILE=1 pip wheel --no-deps .``.
"""

import os
import sys
from pathlib import Path

from setuptools import setup

COMPILED = os.environ.get("SERVESIM_COMPILE") == "1"
# mypyc, and the packages whose types it reads.
COMPILER = ["mypy>=1.10", "pydantic>=2.6", "numpy>=1.26", "simpy>=4.1"]

# What runs at each step and each event. A policy stays interpreted: anyone's own file has to work beside it, and a
# dataclass cannot be compiled over an interpreted base. Requests are not here as their fields are declared by
# annotations, which compiled classes do not keep; nor limits and rules, which could then not be copied.
CORE = {
    "hardware_profiles": ["tabulated"],
    "simulator": ["clock"],
    "simulator/replica": [
        "adaptive_engine", "arriving", "beyond", "block_runs", "bounds", "content", "cost", "decode_group",
        "draft_group", "draft_runs", "effects", "engine", "engine_state", "fast_forward", "filled_blocks",
        "held_blocks", "job",
        "kv", "lanes", "late_prefix_blocks", "late_radix_pages", "ledger", "lockstep", "long_runs", "loop", "outline",
        "phased_group", "pipeline_engine", "pipeline_runs", "prefix_blocks", "radix_pages", "radix_ranks",
        "radix_tree", "records", "replica", "speculative_engine", "state", "taking", "transfers", "tree_engine",
        "view",
    ],
    "simulator/cluster": [
        "building", "choice", "cluster", "departures", "early_sends", "faults", "fleet", "fleets", "flow", "hand_off",
        "intake", "kv_transfers", "link", "migrations", "recovery", "shared_wires", "ticker", "traffic",
    ],
}  # fmt: skip


def core() -> list[str]:
    """Return the files that are compiled."""
    return [f"{folder}/{name}.py" for folder, names in CORE.items() for name in names]


def extensions() -> list[object]:
    """Return what is to be built: nothing, unless it is asked for."""
    if not COMPILED:
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        if "egg_info" in sys.argv:  # pip asks what the build needs before it installs that
            return []
        raise

    missing = [name for name in core() if not Path(name).exists()]
    if missing:
        raise SystemExit(
            f"setup.py: {', '.join(missing)}: no such file; expected those that are to be compiled"
        )
    options = ["--strict", "--ignore-missing-imports", "--follow-imports=silent"]
    found = mypycify([*core(), *options], opt_level="3", debug_level="0", group_name="servesim")
    if sys.platform == "linux":
        for each in found:  # what is called from within only can be called without a look-up: 3 % of the time
            each.extra_compile_args += ["-fvisibility=hidden", "-fno-semantic-interposition"]
    return list(found)


setup(ext_modules=extensions(), setup_requires=COMPILER if COMPILED else [])
