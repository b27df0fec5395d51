"""The tables of ``docs/performance.md``, from what was measured. Nothing here measures."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers, performance_plots
from benchmarks.speed import HELP_S, WORST_RATIO
from simulator.errors import InputError

Found = dict[str, Any]
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
FOLDER = PAGE.parent / "performance"
_ROWS_OF_PROFILE = 8


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = [each.strip() for each in head.split("|")]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _bar(value: float, bar: float | None, digits: str = ".2f", unit: str = "") -> str:
    said = f"{value:{digits}}{unit}"
    if bar is None:
        return said
    return f"{said} (bar {bar:g}{unit}{'' if value <= bar else ', **missed**'})"


def _machine(known: Mapping[str, Any]) -> str:
    about = known["works"]["machine"]
    packages = ", ".join(f"{name} {found}" for name, found in about["packages"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['system']}; Python {about['python']}, {packages}. The load"
        f" of the machine in the minute before was {about['load']:.1f}. Medians of {known['works']['rounds']} rounds"
        f" (W5 and W8: one); `servesim --help` takes {_bar(known['works']['help_s'], HELP_S, unit=' s')}."
    )


def _worst_ratio(row: Mapping[str, Any]) -> float | None:
    """The bar of engine over loop; None where the loop does too little to be one."""
    found: float | None = row.get("worst_ratio", WORST_RATIO)
    return found


def _works(known: Mapping[str, Any]) -> str:
    rows = [
        (
            f"**{each['name']}** {each['what']}",
            _bar(each["wall_s"], each["bar_s"]),
            f"{each['cpu_s']:.2f}",
            _bar(each["peak_mb"], each["bar_mb"], ".0f"),
            f"{each['steps']:,.0f}",
            f"{each['engine_s']:.3f}",
            f"{each['engine_s'] / each['steps'] * 1e6:.2f}",
            f"{each['loop_s']:.3f}",
            f"{each['iterations']:,.0f}",
            _bar(each["ratio"], _worst_ratio(each), unit="x"),
        )
        for each in known["works"]["rows"]
    ]
    head = "work | wall, s | CPU, s | peak, MB | steps | engine, CPU s | us a step | loop, CPU s | iterations"
    return _table(head + " | engine / loop", rows)


def _peers(known: Mapping[str, Any]) -> str:
    found = known["peers"]
    if "why_not" in found:
        return str(found["why_not"])
    rows = [
        (
            each["work"],
            f"{each['peer']['cpu_s']:.2f}",
            f"{each['iterations']:,}",
            f"{each['peer']['cpu_s'] / each['loop_s']:.1f}x",
            f"{each['ours']['cpu_s']:.2f}",
            f"{each['ours']['cpu_s'] / each['loop_s']:.1f}x",
            f"**{each['peer']['cpu_s'] / each['ours']['cpu_s']:.1f}x**",
        )
        for each in found["rows"]
    ]
    head = f"work | {peers.NAME} {peers.VERSION}, CPU s | its iterations | / loop | servesim, CPU s | / loop"
    return _table(f"{head} | {peers.NAME} / servesim", rows)


def _quoted(known: Mapping[str, Any]) -> str:
    quoted = peers.quoted()
    works = sorted({each.work for each in quoted})
    ours = {each["name"]: each["whole_ratio"] for each in known["works"]["rows"]}
    cells = {(each.peer, each.work): each.cpu_s / each.loop_cpu_s for each in quoted}
    rows = [("**servesim**, this machine", *(f"**{ours[work]:.0f}x**" for work in works))]
    for peer in dict.fromkeys(each.peer for each in quoted):
        found = (cells.get((peer, work)) for work in works)
        rows.append((peer, *("-" if ratio is None else f"{ratio:.0f}x" for ratio in found)))
    return _table("whole process / reference loop, CPU | " + " | ".join(works), rows)


def _policies(known: Mapping[str, Any]) -> str:
    found = known["policies"]
    rows = [
        (f"`{each['name']}`", f"{each['cpu_s']:.2f}", _bar(each["ratio"], found["bar"], unit="x"))
        for each in found["rows"]
    ]
    return _table("W2's traffic under | whole process, CPU s | / `vllm_v1`", rows)


def _day(known: Mapping[str, Any]) -> str:
    found = known["day"]
    rows = [
        (
            f"{each['requests']:,}",
            f"{each['wall_s']:.1f}",
            f"{each['cpu_s']:.1f}",
            _bar(each["cpu_s"] / each["requests"] * 1e6, found["bar_us"], ".1f"),
            f"{each['peak_mb']:.0f}",
        )
        for each in found["rows"]
    ]
    return _table("requests of the day | wall, s | CPU, s | CPU a request, us | peak, MB", rows)


def _growth(known: Mapping[str, Any]) -> str:
    rows = []
    for each in known["growth"]["curves"]:
        steps, loop, engine = (each[what][-1] / each[what][0] for what in ("steps", "loop_s", "engine_s"))
        rows.append(
            (
                f"{each['title']}: {each['sizes'][0]:,} to {each['sizes'][-1]:,}",
                _bar(each["ratio"], each["bar"], unit="x"),
                f"{steps:.2f}x",
                f"{engine / steps:.2f}x",
                f"{loop:.2f}x",
            )
        )
    for what, value, bar, unit in known["growth"]["checks"]:
        rows.append((what, _bar(value, bar, unit=unit if unit == "x" else f" {unit}"), "", "", ""))
    return _table("growth | engine and tables | steps | time a step | reference loop", rows)


def _sweep(known: Mapping[str, Any]) -> str:
    each = known["sweep"]
    one, two = each["one"]["wall_s"], each["two"]["wall_s"]
    said = f"at least {each['bar']:g}{'' if each['speed_up'] >= each['bar'] else ', **missed**'}"
    return (
        f"{each['points']} points take {one:.1f} s on one core ({one / each['points']:.2f} s a point) and"
        f" {_bar(two, each['bar_s'], '.1f', ' s')} on two: {each['speed_up']:.2f} times as fast (bar: {said}). Killed"
        f" after {each['killed_at']} points and started again: {each['lost']} lost, {each['repeated']} computed twice,"
        f" the tables of all three sweeps are {'equal' if each['alike'] else '**not equal**'}. {each['failed']} failed."
    )


def _profile(known: Mapping[str, Any]) -> str:
    parts = []
    for each in known["profiles"]["rows"]:
        largest = sorted(each["modules"].items(), key=lambda item: -item[1])[:_ROWS_OF_PROFILE]
        said = (f"{_code(name)} {seconds / each['seconds']:.0%}" for name, seconds in largest)
        parts.append((f"{each['work']}, {each['seconds']:.2f} s", ", ".join(said)))
    return _table("work, CPU | by module, largest first", parts)


def _code(name: str) -> str:
    return f"`{name}`" if name.endswith(".py") else name


def _slowest_start(known: Mapping[str, Any]) -> str:
    first = known["profiles"]["rows"][0]
    imports = {n.partition(":")[2]: s for n, s in first["functions"].items() if n.startswith("imports:")}
    largest = sorted(imports.items(), key=lambda item: -item[1])[:5]
    return (
        f"Importing takes {sum(imports.values()):.2f} s of {first['work']}'s {first['seconds']:.2f} s of CPU: "
        + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in largest)
        + "."
    )


BLOCKS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "machine": _machine,
    "works": _works,
    "peers": _peers,
    "quoted": _quoted,
    "policies": _policies,
    "day": _day,
    "growth": _growth,
    "sweep": _sweep,
    "profile": _profile,
    "imports": _slowest_start,
}
_NEEDS = {"machine": "works", "quoted": "works", "profile": "profiles", "imports": "profiles"}


def filled(page: str, known: Mapping[str, Any]) -> str:
    """Return a page with what is between its markers written anew.

    Raises InputError if a marker of BLOCKS is missing.
    """
    for name, block in BLOCKS.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        if not marked.search(page):
            raise InputError(
                f"{PAGE}: no <!-- {name} --> ... <!-- /{name} -->; expected one to write between"
            )
        said = block(known) if _NEEDS.get(name, name) in known else "Not measured yet."
        page = marked.sub(lambda found, said=said: f"{found[1]}{said}\n{found[2]}", page)  # type: ignore[misc]
    return page


def missed(known: Mapping[str, Any]) -> list[str]:
    """Return the bars that what was measured misses."""
    found = []
    for each in known.get("works", {}).get("rows", ()):
        for what, bar in (
            ("wall_s", each["bar_s"]),
            ("peak_mb", each["bar_mb"]),
            ("ratio", _worst_ratio(each)),
        ):
            if bar is not None and each[what] > bar:
                found.append(f"{each['name']} {what} {each[what]:.2f} > {bar:g}")
    if known.get("works", {}).get("help_s", 0) > HELP_S:
        found.append("servesim --help")
    growth = known.get("growth", {"curves": (), "checks": ()})
    found += [
        f"{each['what']} {each['ratio']:.2f} > {each['bar']:g}"
        for each in growth["curves"]
        if each["ratio"] > each["bar"]
    ]
    found += [what for what, value, bar, _ in growth["checks"] if value > bar]
    if any(each["ratio"] > known["policies"]["bar"] for each in known.get("policies", {}).get("rows", ())):
        found.append("W9")
    for each in known.get("day", {}).get("rows", ()):
        if each["cpu_s"] / each["requests"] * 1e6 > known["day"]["bar_us"]:
            found.append(f"W10 with {each['requests']:,} requests")
    sweep = known.get("sweep")
    if sweep and (
        sweep["lost"]
        or sweep["repeated"]
        or sweep["failed"]
        or not sweep["alike"]
        or sweep["speed_up"] < sweep["bar"]
        or sweep["two"]["wall_s"] > sweep["bar_s"]
    ):
        found.append("W6")
    return found


def write(known: Mapping[str, Any]) -> None:
    """Write the tables into the page, and the pictures beside it."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), known), encoding="utf-8")
    performance_plots.draw(known, FOLDER)
