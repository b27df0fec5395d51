"""The tables of the study of speculation."""

from collections.abc import Mapping

from experiments.paper._reproduce import Study
from experiments.systems._findings import shown
from experiments.systems._measured import Numbers, ratio
from experiments.systems._speculation_runs import (
    DRAFTERS,
    PLAIN,
    READERS,
    SERVERS,
    Loads,
    worth,
)


def write_tables(study: Study, found: Loads, of_bursts: Mapping[tuple[int, int], Numbers]) -> None:
    """Write what the page shows, and all means beside it."""
    rows = []
    for server, (_, rates) in SERVERS.items():
        for rate in map(float, rates):
            plain = found[server, rate, PLAIN]
            row = [
                server,
                f"{rate:g}",
                f"{plain['running'].mean():.0f}",
                f"{1000 * plain['tpot_s'].mean():.1f}",
            ]
            row += [
                f"{ratio(plain, found[server, rate, way], 'tpot_s').mean:.2f}" for way in list(DRAFTERS)[1:]
            ]
            row.append(f"{ratio(found[server, rate, 'EAGLE-3'], plain, 'tokens_per_s').mean:.2f}")
            for name in READERS:
                both = (worth(found[server, rate, way], name).mean() for way in (PLAIN, "EAGLE-3"))
                row.append(" → ".join(f"{each:.2f}" for each in both))
            rows.append(row)
    head = ["server", "requests/s", "running", "TPOT, ms", *(f"{way}: TPOT" for way in list(DRAFTERS)[1:])]
    head += ["EAGLE-3: throughput", *(f"worth of a token, {name}" for name in READERS)]
    shown(study, "rates", dict(zip(head, zip(*rows, strict=True), strict=True)))
    keys = [
        ("largest TBT, ms", "max_tbt_s", 1e3),
        ("TBT p99, ms", "tbt_p99_s", 1e3),
        ("TPOT, ms", "tpot_s", 1e3),
    ]
    columns: dict[str, list[str]] = {
        "requests/s": [f"{rate}" for rate, _ in of_bursts],
        "k": [f"{k}" for _, k in of_bursts],
    }
    for title, name, scale in (*keys, ("waiting of a reader, ms", "idle_s, 5 tokens/s", 1e3)):
        columns[title] = [f"{scale * each[name].mean():.1f}" for each in of_bursts.values()]
    shown(study, "bursts", columns)
    names = list(next(iter(found.values())))
    everything = [(*key, *(float(values[name].mean()) for name in names)) for key, values in found.items()]
    head = ["server", "requests_per_s", "drafts", *names]
    study.table("rates", dict(zip(head, zip(*everything, strict=True), strict=True)))
