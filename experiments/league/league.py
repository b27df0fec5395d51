"""Which scheduler wins, by whose metric?

**Question.** Papers on schedulers each measure by a metric of their own. Which schedulers win by which metric, does
each win by its own, and does who wins by one win by another?

**Here** every scheduler of ``policies/scheduling`` with its defaults, on one engine (vLLM 0.24 with Llama-3.1-8B on an
A100), under five kinds of traffic at 0.7, 1.0 and 1.3 times what ``vllm_v1`` can complete. All see the same requests,
seed by seed, the same predictions, and the same window, that of the arrivals. An engine or drafts that its own paper
gives to a scheduler are not here, and who cannot be served by this engine, which plans ahead, does not play. What was
not served counts: in rates as nothing, in latencies as ending with the run. ``league.toml`` has it all, and was fixed
before the runs.

**Tests.** In a cell, one traffic under one load, the best scheduler wins, and with it all that are not shown to be more
than 1 % worse (paired by seed, one-sided, 95 %, corrected by Holm for the number of rivals). A metric's home are the
schedulers whose papers measure by it. Agree if one of them wins in more than half of the cells, partly if in some.

Takes about 2 min (quick) and 15 min (full) on two cores.
"""

from collections.abc import Mapping, Sequence

from experiments.league._measured import measured
from experiments.league._pictures import standings_picture
from experiments.league._protocol import League, league
from experiments.league._standings import Standing, agreement, ranking, standings
from experiments.paper._reproduce import Study, Verdict, main
from experiments.systems._findings import Agreement, Finding, shown, verdict
from experiments.systems._measured import gathered

CLAIM = "Each scheduler is among the best by the metric that its paper measures by."
OURS = "smooth_goodput"


def run(study: Study) -> Verdict:
    """Play all games, draw, write the tables, and judge."""
    rules = league()
    names = rules.schedulers()
    cells = [(traffic, load) for traffic in rules.traffic for load in rules.loads]
    seeds = range(rules.quick_seeds if study.quick else rules.seeds)
    share = rules.quick_share if study.quick else 1.0
    games = {
        (cell, name): [rules.scenario(*cell, name, seed, share) for seed in seeds]
        for cell in cells
        for name in names
    }
    found = gathered(study, games, measured, "games")
    stand = standings(found, rules, cells)
    order = ranking(stand, names, OURS)
    study.save(standings_picture(stand, order, rules, len(cells)), "standings")
    shown(study, "standings", standings_table(stand, order, rules))
    shown(study, "metrics", metrics_table(stand, names, rules, len(cells)))
    absent = rules.not_playing
    shown(
        study, "not_playing", {"does not play": [f"`{name}`" for name in absent], "why": [*absent.values()]}
    )
    study.table(
        "cells",
        {
            "traffic": [cell[0] for cell, _ in found],
            "load": [cell[1] for cell, _ in found],
            "scheduler": [name for _, name in found],
            **{
                f"{metric}_{of.unit.replace(' ', '_')}": [
                    float(each[metric].mean()) for each in found.values()
                ]
                for metric, of in rules.metrics.items()
            },
        },
    )
    return verdict(study, CLAIM, findings(stand, names, rules, len(cells)))


def standings_table(
    stand: Mapping[tuple[str, str], Standing], order: Sequence[str], rules: League
) -> dict[str, list[str]]:
    """Return in how many cells each scheduler wins, by metric."""
    columns = {"scheduler": [f"`{name}`" for name in order]}
    for metric, of in rules.metrics.items():
        columns[of.title] = [
            f"**{stand[name, metric].wins}**" if name in of.home else str(stand[name, metric].wins)
            for name in order
        ]
    return columns


def metrics_table(
    stand: Mapping[tuple[str, str], Standing], names: Sequence[str], rules: League, cells: int
) -> dict[str, list[str]]:
    """Return who wins most by each metric, and how far the metric agrees with smooth goodput."""
    columns: dict[str, list[str]] = {
        "metric": [],
        "whose": [],
        f"wins most often, of {cells} cells": [],
        "which by smooth goodput wins": [],
        "Kendall's tau with smooth goodput": [],
    }
    for metric, of in rules.metrics.items():
        first = ranking(stand, names, metric)[0]
        tau = agreement(stand, names, metric, OURS)
        row = (
            of.title,
            of.whose,
            f"`{first}` ({stand[first, metric].wins})",
            str(stand[first, OURS].wins),
            f"{tau:.2f}",
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns


def findings(
    stand: Mapping[tuple[str, str], Standing], names: Sequence[str], rules: League, cells: int
) -> list[Finding]:
    """Judge each metric's home."""
    found = []
    for metric, of in rules.metrics.items():
        at_home = [name for name in ranking(stand, names, metric) if name in of.home]
        if not at_home:
            continue
        wins = stand[at_home[0], metric].wins
        outcome: Agreement = "agree" if wins > cells / 2 else "partly" if wins else "not"
        ahead = [name for name in names if stand[name, metric].wins > wins]
        best = ranking(stand, names, metric)[0]
        rest = f"; most often {best} ({stand[best, metric].wins})" if ahead else ""
        found.append(
            Finding(
                f"{' or '.join(f'`{name}`' for name in of.home)} wins by {of.title}",
                outcome,
                f"{of.title}: {at_home[0]} in {wins} of {cells} cells{rest}.",
            )
        )
    return found


if __name__ == "__main__":
    main(run)
