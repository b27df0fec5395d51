"""What ``servesim --version`` says."""

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def versions() -> str:
    """Return the version, that of Python and of the packages that results depend on, and the dates of the profiles."""
    from hardware_profiles import list_engines, list_gpus, load_engine, load_gpu

    packages = ", ".join(f"{name} {_version(name)}" for name in ("simpy", "numpy", "scipy", "pyarrow"))
    engines = [f"{each.name} ({each.evidence.date})" for each in map(load_engine, list_engines())]
    gpus = [f"{each.name} ({each.datasheet.date})" for each in map(load_gpu, list_gpus())]
    core = "compiled core" if is_compiled() else "interpreted"
    return "\n".join(
        [
            f"servesim {_version('servesim')}, Python {platform.python_version()}, {core}",
            packages,
            f"engine profiles: {', '.join(engines)}",
            f"GPU profiles: {', '.join(gpus)}",
        ]
    )


def is_compiled() -> bool:
    """Whether the engine's files were compiled."""
    found = find_spec("simulator.replica.loop")
    return found is not None and found.origin is not None and not found.origin.endswith(".py")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
