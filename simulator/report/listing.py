"""What ``servesim list`` shows: everything that a scenario can name, with one line on each."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.report.text import number, table

TOPICS = ("policies", "engines", "gpus", "models", "links", "workloads", "runs")


def listing(topic: str) -> str:
    """Return the lines of one topic; raise ``InputError`` for another word, suggesting the nearest."""
    if topic not in TOPICS:
        from simulator.scenario.discover import nearest

        raise InputError(
            f"list: nothing called {topic!r}; {nearest(topic, list(TOPICS))}expected one of {', '.join(TOPICS)}"
        )
    makers = {
        "policies": _policies,
        "engines": _engines,
        "gpus": _gpus,
        "models": _models,
        "links": _links,
        "workloads": _workloads,
    }
    return "\n".join(makers[topic]()) + "\n"


def runs(
    found: Iterable[tuple[Path, Mapping[str, Any], Mapping[str, Any]]],
    studies: Iterable[tuple[Path, str, str]] = (),
) -> str:
    """Return a line a saved run, given as its folder, manifest and summary: on what, which traffic, what came of it.

    Below, a line a study, given as its folder, kind and answer.
    """
    rows = [["folder", "scheduler", "GPU", "requests", "tokens/s", "smooth goodput", "TTFT p99, s"]]
    for folder, manifest, summary in found:
        scenario = manifest["scenario"]
        rows.append(
            [
                str(folder),
                *_served_by(scenario),
                f"{summary['traffic']['requests']:,}",
                number(summary["throughput"]["output_tokens_per_s"]),
                number(summary["smooth_goodput"].get("smooth_goodput_tokens_per_s")),
                number(summary["latency"]["ttft_s"]["p99"]),
            ]
        )
    others = [["folder", "study", "answer"], *([str(folder), kind, said] for folder, kind, said in studies)]
    parts = [table(each, left=3) for each in (rows, others) if len(each) > 1]
    return "\n\n".join("\n".join(part) for part in parts) + "\n" if parts else "no saved runs\n"


def _served_by(scenario: Mapping[str, Any]) -> tuple[str, str]:
    """Return scheduler and GPU; of a real server neither is known."""
    if "policy" not in scenario:
        return "a real server", "-"
    return str(scenario["policy"]["scheduling"]["name"]), str(scenario["hardware"]["gpu"])


def _policies() -> list[str]:
    import policies
    from simulator.scenario.discover import KINDS, discover

    root = Path(policies.__path__[0])
    rows = [
        [f"policy.{kind}", name, _first_line(root / kind / f"{name}.py")]
        for kind in KINDS
        for name in discover(kind)
    ]
    return table(rows, left=3)


def _first_line(path: Path) -> str:
    summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return summary.split("\n")[0]


def _engines() -> list[str]:
    from hardware_profiles import list_engines, load_engine

    rows = [["native", "the engine that the policy is named after", ""]]
    for each in map(load_engine, list_engines()):
        measured = ", ".join(each.overheads.fitted) or "never measured"
        rows.append([each.name, each.description, f"overheads {measured}"])
    return table([["engine.profile", *row] for row in rows], left=4)


def _gpus() -> list[str]:
    from hardware_profiles import list_gpus, load_gpu

    rows = []
    for gpu in map(load_gpu, list_gpus()):
        derived = f"; derived from {gpu.like}" if gpu.like else ""
        rows.append(
            ["hardware.gpu", gpu.name, f"{gpu.memory_bytes / 2**30:.1f} GiB", gpu.description + derived]
        )
    return table(rows, left=4)


def _models() -> list[str]:
    from hardware_profiles import list_models, load_model

    models = [load_model(name) for name in list_models()]
    rows = [
        [
            "hardware.model",
            model.name,
            f"{model.parameters / 1e9:.1f} G parameters",
            f"{model.kv_bytes_per_token:,} KV bytes/token",
        ]
        for model in models
    ]
    return table(rows, left=2)


def _links() -> list[str]:
    from hardware_profiles import list_links, load_link

    rows = []
    for link in map(load_link, list_links()):
        port, cost = link.port, link.transfer
        rate = f"{port.bandwidth_gb_s * port.achieved_share:.3g} of {port.bandwidth_gb_s:g} GB/s"
        rows.append([
            "cluster.link.kind", link.name, rate,
            f"{cost.setup_s * 1e3:g} ms + {cost.descriptor_s * 1e6:g} us a descriptor", link.description,
        ])  # fmt: skip
    return table(rows, left=5)


def _workloads() -> list[str]:
    from simulator.replica.request import FIELDS
    from simulator.workload import library
    from simulator.workload.reader import describe

    rows = []
    shipped = {
        "trace": library.shipped_traces(),
        "lengths": library.shipped_samples(),
        "load": library.shipped_loads(),
    }
    for kind, files in shipped.items():
        for name, path in files.items():
            count, source, license_ = describe(path)
            rows.append([f"workload.{kind}", name, f"{count:,} rows; {source} [{license_}]"])
    for name, quantiles in library.shipped_quantiles().items():
        rows.append(["workload.lengths", name, f"quantiles; {quantiles.source} [{quantiles.license}]"])
    for name, field in FIELDS.items():
        column = "" if field.column is None else f"; column {field.column} of a trace"
        rows.append(["job.request", name, f"{field.means}{column}"])
    return table(rows, left=3)
