"""Is the plan found the cheapest there is, and at what share of an exhaustive search's simulations?

    python -m benchmarks.plan [--full]

Every candidate that fits is simulated with all of the traffic and every seed: the optimum. ``servesim plan``'s
search of the same space must come within 3 % of its cost with at most 15 % of the simulations, counted both in
runs and in whole lengths. Beside that, each thing that the search relies on is checked on every candidate: no
bound and no part of the traffic may refuse one that keeps the target; and it is counted how often more replicas
were worse. ``--full`` takes longer traffic. Exit status 1 if a bar is missed.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.studies.plan.line import Line
from simulator.studies.plan.plan import FoundPlan, find, judge_lines
from simulator.studies.plan.runs import CandidateRuns
from simulator.studies.plan.space import PlanFile
from simulator.studies.points import Kept
from simulator.studies.workers import Workers

MOST_OVER, MOST_SHARE, MOST_S = 0.03, 0.15, 300.0

_SPACE = """
[space]
gpus = ["a100-80gb-sxm", "h100-80gb-sxm", "l40s", "rtx-pro-6000"]
tensor_parallel = [1, 2]
replicas = { from = 1, to = 12, steps = 12 }
shapes = ["colocated", "1:1"]
policies = ["vllm_v1"{policies}]
[space.settings]
"engine.max_num_batched_tokens" = [2048, 8192]
"""
CASES = {
    "a trace, attainment and p99 TTFT": """
target = ["token_slo.attainment >= 0.95", "latency.ttft_s.p99 <= 0.5"]
[set]
"workload.trace" = "azure2023_conv"
"workload.start_s" = 1200
"workload.limit" = {requests}
"workload.rate_scale" = 6
"user.first_token_allowance_s" = 1.0
"""
    + _SPACE.replace("{policies}", ', "sarathi"'),
    "random traffic, smooth goodput": """
replications = 2
target = ["smooth_goodput.per_requested_token >= 0.9"]
[set]
"hardware.model" = "qwen-2.5-14b"
"workload.arrivals" = "poisson"
"workload.rate_rps" = 40.0
"workload.requests" = {fewer}
"workload.lengths" = "chat_azure2023"
"""
    + _SPACE.replace("{policies}", "")
    + '"engine.max_num_seqs" = [32, 128]\n',
}


@dataclass(frozen=True)
class Compared:
    """An exhaustive search, and what the other one made of the same space."""

    candidates: int  # in the space
    simulated: int  # runs of the exhaustive search: what fits, with every seed
    best_usd: float | None  # per hour; None: nothing keeps the target
    found_usd: float | None
    runs_share: float
    lengths_share: float
    wrongly_refused: list[str]  # keep the target, but a bound or a part of the traffic said no
    worse_with_more: int  # pairs of neighbours on a line of which only the smaller keeps the target
    search_s: float
    best_name: str
    found_name: str


def compare(plan: PlanFile, folder: Path, workers: Workers) -> Compared:
    """Search a space in both ways, in folders of their own."""
    begun_s = time.monotonic()
    found = find(plan, folder / "search", workers, robustness=False)
    search_s = time.monotonic() - begun_s
    runs = CandidateRuns(plan, Kept(folder / "exhaustive"), workers)
    judgements = judge_lines(plan, runs)
    unfit = {number for number, known in judgements.items() if known.refused and known.kind == "fit"}
    fitting = [line for line in plan.lines if line.number not in unfit]
    places = [(line, count) for line in fitting for count in line.counts]
    runs.complete(places)
    keeping = [place for place in places if runs.outcomes[place[0].number, place[1]].keeps]
    best = min(keeping, key=usd, default=None)
    simulated = len(places) * runs.replications
    chosen = found.best if found.keeps else None
    return Compared(
        plan.size,
        simulated,
        None if best is None else usd(best),
        None if chosen is None else usd(chosen),
        found.search_simulations / simulated,
        found.search_whole_runs / simulated,
        _wrongly_refused(found, keeping),
        sum(
            runs.outcomes[line.number, one].keeps and not runs.outcomes[line.number, two].keeps
            for line in fitting
            for one, two in zip(line.counts, line.counts[1:], strict=False)
        ),
        search_s,
        "nothing" if best is None else best[0].name(best[1]),
        "nothing" if chosen is None else chosen[0].name(chosen[1]),
    )


def usd(place: tuple[Line, int]) -> float:
    return place[0].usd_per_hour(place[1])


def _wrongly_refused(found: FoundPlan, keeping: Sequence[tuple[Line, int]]) -> list[str]:
    """Return candidates that keep the target though the search has a proof that they do not."""
    wrong = []
    for line, count in keeping:
        judgement = found.judgements[line.number]
        outcome = found.runs.outcomes.get((line.number, count))
        if judgement.refused is not None or count < judgement.least or (outcome and not outcome.keeps):
            wrong.append(line.name(count))
    return wrong


def main(arguments: Sequence[str] = ()) -> int:
    workers, missed = Workers(os.cpu_count() or 1), 0
    requests = 3000 if "--full" in arguments else 800
    for title, text in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plan.toml"
            path.write_text(
                text.replace("{requests}", str(requests)).replace("{fewer}", str(requests // 2)),
                encoding="utf-8",
            )
            got = compare(PlanFile.from_toml(path), Path(folder), workers)
        print(
            f"{title}: {got.candidates} candidates, {got.simulated} simulations exhaustively\n"
            f"  cheapest: {got.best_name}\n  found:    {got.found_name}, in {got.search_s:.0f} s\n"
            f"  fewer replicas better than more: {got.worse_with_more} pairs"
        )
        over = (
            float("inf")
            if got.best_usd is None or got.found_usd is None
            else got.found_usd / got.best_usd - 1
        )
        for what, measured, bar in (
            ("cost over the optimum's", over, MOST_OVER),
            ("share of the runs", got.runs_share, MOST_SHARE),
            ("share of the whole lengths", got.lengths_share, MOST_SHARE),
        ):
            missed += measured > bar
            print(f"{'ok    ' if measured <= bar else 'MISSED'}  {what}: {measured:.1%} (bar {bar:.0%})")
        for what, figure, limit, unit in (
            ("wrongly refused", len(got.wrongly_refused), 0, "candidates"),
            ("search", got.search_s, MOST_S, "s"),
        ):
            missed += figure > limit
            print(f"{'ok    ' if figure <= limit else 'MISSED'}  {what}: {figure:.0f} {unit} (bar {limit:g})")
        for name in got.wrongly_refused[:5]:
            print(f"        {name}")
    workers.close()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
