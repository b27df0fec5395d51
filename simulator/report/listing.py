"""What ``servesim list`` shows: everything that a scenario can name, with one line on each."""

import ast
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from simulator.errors import InputError
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, amount, count

if TYPE_CHECKING:
    from simulator.scenario.discover import PolicyKind

TOPICS = ("policies", "engines", "gpus", "models", "drafters", "links", "workloads", "runs")
_KEY = TableColumn("key", left=True, rank=2)  # of the scenario that takes the name
_NAME = TableColumn("name", left=True)
_FROM = TableColumn("from", left=True, rank=3)
_MEANS = TableColumn("what it is", left=True, wraps=True)


def listing(topic: str) -> Document:
    """Return the table of one topic; raise ``InputError`` for another word, suggesting the nearest."""
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
        "drafters": _drafters,
        "links": _links,
        "workloads": _workloads,
    }
    return Document([makers[topic]()])


def runs(
    found: Iterable[tuple[Path, Mapping[str, Any], Mapping[str, Any]]],
    studies: Iterable[tuple[Path, str, str]] = (),
) -> Document:
    """Return a line a saved run, given as its folder, manifest and summary: on what, which traffic, what came of it.

    Below, a line a study, given as its folder, kind and answer.
    """
    rows: list[list[PrintedCell]] = []
    for folder, manifest, summary in found:
        ttft_p99_s = summary["latency"]["ttft_s"]["p99"]
        rows.append(
            [
                str(folder),
                *_served_by(manifest["scenario"]),
                count(summary["traffic"]["requests"]),
                amount(summary["throughput"]["output_tokens_per_s"]),
                amount(summary["smooth_goodput"].get("smooth_goodput_tokens_per_s")),
                amount(None if ttft_p99_s is None else 1e3 * ttft_p99_s),
            ]
        )
    columns = [
        TableColumn("folder", left=True),
        TableColumn("scheduler", left=True, rank=3),
        TableColumn("GPU", left=True, rank=4),
        TableColumn("requests", rank=2),
        TableColumn("throughput", "tokens/s", rank=5),
        TableColumn("smooth goodput", "tokens/s"),
        TableColumn("TTFT p99", "ms", rank=1),
    ]
    others = [[str(folder), kind, said] for folder, kind, said in studies]
    heads = [
        TableColumn("folder", left=True),
        TableColumn("study", left=True),
        TableColumn("answer", left=True, wraps=True),
    ]
    tables = [Table(*each) for each in ((columns, rows), (heads, others)) if each[1]]
    return Document(tables or [Words(["no saved runs"])])


def _served_by(scenario: Mapping[str, Any]) -> tuple[str, str]:
    """Return scheduler and GPU; of a real server neither is known."""
    if "policy" not in scenario:
        return "a real server", "-"
    return str(scenario["policy"]["scheduling"]["name"]), str(scenario["hardware"]["gpu"])


def _policies() -> Table:
    import policies
    from simulator.scenario.discover import KINDS, discover

    root = Path(policies.__path__[0])
    rows = [
        [f"policy.{kind}", name, "servesim", _first_line(root / kind / f"{name}.py")]
        for kind in KINDS
        for name in discover(kind)
    ]
    return Table([_KEY, _NAME, _FROM, _MEANS], [*rows, *_installed_policies()])


def _installed_policies() -> list[list[PrintedCell]]:
    """Return a row for each entry point of an installed package: what the policy says of itself, or what is wrong."""
    from simulator.scenario.discover import discover, load
    from simulator.scenario.plugins import misnamed, plugins

    rows: list[list[PrintedCell]] = []
    for each in plugins():
        if not each.kind:
            rows.append(["-", each.name, each.distribution, f"not used: {misnamed(each)}"])
            continue
        kind = cast("PolicyKind", each.kind)
        if each.name in discover(kind):
            said = f"not used: {each.name!r} is a shipped policy; expected another name for the entry point"
        else:
            try:
                said = (inspect.getdoc(load(kind, each.name)) or "").split("\n")[0]
            except InputError as error:
                said = f"not used: {error}"
        rows.append([f"policy.{kind}", each.name, each.distribution, said])
    return rows


def _first_line(path: Path) -> str:
    summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return summary.split("\n")[0]


def _engines() -> Table:
    from hardware_profiles import list_engines, load_engine

    rows = [["native", "the engine that the policy is named after", ""]]
    for each in map(load_engine, list_engines()):
        measured = ", ".join(each.overheads.fitted)
        rows.append(
            [
                each.name,
                each.description,
                f"measured with {measured}" if each.overheads.fitted else "never measured",
            ]
        )
    return Table(
        [_KEY, _NAME, _MEANS, TableColumn("overheads", left=True, rank=1, wraps=True)],
        [["engine.profile", *row] for row in rows],
    )


def _gpus() -> Table:
    from hardware_profiles import list_gpus, load_gpu

    rows: list[list[PrintedCell]] = []
    for gpu in map(load_gpu, list_gpus()):
        derived = f"; derived from {gpu.like}" if gpu.like else ""
        rows.append(
            [
                "hardware.gpu",
                gpu.name,
                Amount(gpu.memory_bytes / 2**30, f"{gpu.memory_bytes / 2**30:.1f}"),
                gpu.description + derived,
            ]
        )
    return Table([_KEY, _NAME, TableColumn("memory", "GiB"), _MEANS], rows)


def _models() -> Table:
    from hardware_profiles import list_models, load_model

    models = [load_model(name) for name in list_models()]
    rows: list[list[PrintedCell]] = [
        [
            "hardware.model",
            model.name,
            Amount(model.parameters / 1e9, f"{model.parameters / 1e9:.1f}"),
            count(model.kv_bytes_per_token),
        ]
        for model in models
    ]
    return Table([_KEY, _NAME, TableColumn("parameters", "G"), TableColumn("KV cache", "bytes/token")], rows)


def _drafters() -> Table:
    from hardware_profiles.drafter import list_drafters, load_drafter

    rows: list[list[PrintedCell]] = []
    for drafter in map(load_drafter, list_drafters()):
        cost = drafter.cost
        price = f"{cost.step_ms:g} ms + {cost.pass_ms:g} ms a draft"
        if cost.share_of_step:
            price = f"{cost.share_of_step:.2%} of a step"
        rows.append([
            "speculation.method", drafter.name, price, drafter.curve or "policy.acceptance", drafter.description
        ])  # fmt: skip
    heads = TableColumn("beside its weights", left=True, rank=1), TableColumn("acceptance", left=True)
    return Table([_KEY, _NAME, *heads, _MEANS], rows)


def _links() -> Table:
    from hardware_profiles import list_links, load_link

    rows: list[list[PrintedCell]] = []
    for link in map(load_link, list_links()):
        port, cost = link.port, link.transfer
        rate = f"{port.bandwidth_gb_s * port.achieved_share:.3g} of {port.bandwidth_gb_s:g} GB/s"
        rows.append([
            "cluster.link.kind", link.name, rate,
            f"{cost.setup_s * 1e3:g} ms + {cost.descriptor_s * 1e6:g} us a descriptor", link.description,
        ])  # fmt: skip
    return Table(
        [_KEY, _NAME, TableColumn("bandwidth", left=True), TableColumn("set-up", left=True, rank=1), _MEANS],
        rows,
    )


def _workloads() -> Table:
    from simulator.replica.request import FIELDS
    from simulator.workload import library
    from simulator.workload.reader import describe

    rows: list[list[PrintedCell]] = []
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
    return Table([_KEY, _NAME, _MEANS], rows)
