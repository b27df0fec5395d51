"""A replay in words, as a table of its requests, as a picture, and as files that other commands read."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from simulator.report.exports.vllm_bench import export
from simulator.report.style import BLUE, GREY, RED, axes, drawing, label_panels, plain_log_scale, save
from simulator.report.tables import (
    Document,
    Facts,
    PrintedCell,
    Table,
    TableColumn,
    Words,
    amount,
    count,
    share,
)
from simulator.results.folders import whole
from simulator.studies.replay.replay import KINDS, Replayed

TABLE, PICTURE, BENCH, TRAFFIC = "requests.csv", "replay.png", "measured.json", "traffic.csv"
_FEW_FOLD = 30  # from there on the decades are marks enough
_LABELS = {"ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "E2E"}


def report(replayed: Replayed) -> Document:
    """Return the two means of each latency and the errors request by request, then smooth goodput of both."""
    real, simulated = replayed.summaries()
    manifest = replayed.real.manifest
    engine = replayed.simulated.manifest["engine"]
    pools = replayed.simulated.manifest["pools"]
    worth: list[list[PrintedCell]] = []
    for label, family, key in (
        ("smooth goodput (tokens/s)", "smooth_goodput", "smooth_goodput_tokens_per_s"),
        ("output (tokens/s)", "throughput", "output_tokens_per_s"),
        ("completed (requests/s)", "throughput", "requests_per_s"),
    ):
        pair = [each[family].get(key) for each in (real, simulated)]
        worth.append([label, *map(amount, pair), _off(*pair)])
    rows: list[list[PrintedCell]] = []
    for kind, off in replayed.spreads().items():
        means = off["real_mean_s"], off["simulated_mean_s"]
        spread = [share(None if (q := off[name]) is None else round(q, 6)) for name in ("off_p50", "off_p90")]
        in_ms = [amount(None if mean is None else 1e3 * mean) for mean in means]
        rows.append([_LABELS[kind], *in_ms, _off(*means), *spread, count(int(off["requests"] or 0))])
    requests = f"{len(replayed.rows):,} simulated at the times at which they were sent"
    if replayed.left_out:
        requests += f"; {replayed.left_out:,} that did not complete are left out"
    facts = [
        ("Requests", requests),
        (
            "Simulated",
            f"{pools[0]['gpu']}, {replayed.simulated.manifest['scenario']['hardware']['model']},"
            f" {pools[0]['scheduling']}, overheads of {engine['overheads']}",
        ),
        *(("Note", f"{note}.") for note in manifest["measured"]["notes"]),
        ("off", "simulated over real less 1"),
        ("Reader", f"{replayed.simulated.user.described}"),
    ]
    title = (
        f"{manifest['scenario']['name']}, file of {manifest['measured']['tool']}, beside"
        f" {replayed.simulated.manifest['scenario']['name']}"
    )
    beside = [
        TableColumn("", left=True, wraps=True),
        TableColumn("real"),
        TableColumn("simulated"),
        TableColumn("off"),
    ]
    latencies = [
        TableColumn("Latency in ms", left=True),
        TableColumn("real mean"),
        TableColumn("simulated mean"),
        TableColumn("off"),
        TableColumn("|off| p50", rank=2),
        TableColumn("|off| p90", rank=1),
        TableColumn("requests", rank=3),
    ]
    return Document([Words([title], "title"), Table(beside, worth), Table(latencies, rows), Facts(facts)])


def as_json(replayed: Replayed) -> dict[str, Any]:
    """Return the same for programs, with the whole summary of both."""
    real, simulated = replayed.summaries()
    return {
        "latencies": replayed.spreads(),
        "left_out": replayed.left_out,
        "real": real,
        "simulated": simulated,
    }


def write(replayed: Replayed, folder: Path, *, plot: bool) -> None:
    """Write both results, the table of requests, the real run for ``servesim profile fit``, and the picture.

    Raises OSError where the disk refuses.
    """
    replayed.real.write(folder / "real")
    replayed.simulated.write(folder / "simulated")
    with whole(folder / BENCH) as part:
        export(replayed.real, part)
    with whole(folder / TABLE) as part:
        _write_table(replayed, part)
    if plot:
        _draw(replayed, folder / PICTURE)


def _write_table(replayed: Replayed, path: Path) -> None:
    """Write one row a simulated request; empty: it has no such latency."""
    log = replayed.real.log
    columns: dict[str, Any] = {
        "request": replayed.rows,
        "arrival_s": log.arrival_s[replayed.rows],
        "prompt_tokens": log.prompt_tokens[replayed.rows],
        "output_tokens": log.output_tokens[replayed.rows],
    }
    for kind in KINDS:
        real_s, simulated_s = replayed.latencies_s(kind)
        columns |= {f"real_{kind}": real_s, f"simulated_{kind}": simulated_s}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if value != value else value for value in row] for row in rows])


def _draw(replayed: Replayed, path: Path) -> None:
    with drawing():
        figure, grid = axes(2, 2, width="text", height_in=5.6)
        panels = grid.ravel()
        for panel, kind in zip(panels, KINDS, strict=False):
            real_s, simulated_s = replayed.latencies_s(kind)
            both = (real_s > 0) & (simulated_s > 0)
            panel.set_title(f"{_LABELS[kind]} of each request")
            panel.set_xlabel("real (s)")
            panel.set_ylabel("simulated (s)")
            if not both.any():
                continue
            values = np.concatenate([real_s[both], simulated_s[both]])
            ends = [0.8 * values.min(), 1.25 * values.max()]
            panel.plot(ends, ends, color=GREY, linewidth=0.8)
            panel.plot(real_s[both], simulated_s[both], ".", color=BLUE, alpha=0.5, markersize=3)
            panel.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
            for axis in (panel.xaxis, panel.yaxis):
                plain_log_scale(axis, (1, 2, 3, 5) if ends[1] < _FEW_FOLD * ends[0] else (1,))
        last, arrival_s = panels[-1], replayed.real.log.arrival_s[replayed.rows]
        for each_s, colour, label in zip(
            replayed.latencies_s("ttft_s"), (RED, BLUE), ("real", "simulated"), strict=True
        ):
            last.plot(
                arrival_s - arrival_s[0], each_s, ".", color=colour, alpha=0.5, markersize=3, label=label
            )
        last.set_title("TTFT over the run")
        last.set_xlabel("sent (s after the first)")
        last.set_ylabel("TTFT (s)")
        last.legend(loc="best")
        label_panels(panels)
    save(figure, path)


def _off(real: float | None, simulated: float | None) -> str:
    if not real or simulated is None:
        return "-"
    return f"{round(100 * (simulated / real - 1), 1) + 0.0:+.1f} %"  # + 0.0: no minus before 0
