"""How good must a predictor of output lengths be?

Question: what do shortest-job-first policies gain over first come first served, and how much of it is left as
predictions get worse: log-normal errors of growing size, the right bucket more or less often, no prediction.
First come first served is sjf without a predictor, which sees equal lengths: everything else is the same machine.
Expectation: ordering by length needs ranks, not values, so that errors of a factor of two cost little; a predictor
that is mostly wrong, and none, leave nothing; with preemption (srpt) a wrong guess costs more than without (sjf).
Setting: ShareGPT chat beyond what the server can do, LLaMA-3.1-8B on an A100, at most 64 running; every seed
gives all policies the same requests and, at each size of error, the same guesses.
Run time: 3 minutes (2 seeds with --quick: 40 s).  python -m experiments.studies.misprediction [--quick] [--out DIR]
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.paper._reproduce import Study, Workers, axes
from experiments.paper._scenarios import base_scenario
from simulator.report.style import BLACK, drawing, policy_colour
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval

POLICIES = ("sjf", "srpt")
# label, and what the workload says of its predictor
PREDICTORS: tuple[tuple[str, dict[str, object]], ...] = (
    ("perfect", {"predictor": "perfect"}),
    *(
        (f"error {sigma:g}", {"predictor": "lognormal", "predictor_sigma": sigma})
        for sigma in (0.5, 1.0, 2.0)
    ),
    *(
        (
            f"buckets {share:.0%} right",
            {
                "predictor": "bucketed",
                "predictor_buckets": [50, 100, 200, 400, 800],
                "predictor_accuracy": share,
            },
        )
        for share in (0.99, 0.7, 0.4)
    ),
    ("none", {"predictor": "none"}),
)


def scenarios(policy: str, predictor: dict[str, object], seeds: Sequence[int], quick: bool) -> list[Scenario]:
    """Return one scenario a seed."""
    keys = {f"workload.{key}": value for key, value in predictor.items()}
    keys |= {"policy.scheduling": policy, "engine.max_num_seqs": 64}
    return [
        base_scenario(
            gpu="a100-80gb-sxm", rate_rps=16.0, requests=800 if quick else 2500, seed=seed, overrides=keys
        )
        for seed in seeds
    ]


def saved_share(study: Study, policy: str, predictor: dict[str, object]) -> Interval:
    """How much of first come first served's mean E2E latency a policy saves: mean over seeds, 95 % interval."""
    seeds = (0, 1) if study.quick else study.seeds
    base = study.summaries(scenarios("sjf", PREDICTORS[-1][1], seeds, study.quick), label="fcfs")
    found = study.summaries(scenarios(policy, predictor, seeds, study.quick), label=policy)
    return interval([1 - one["latency"]["e2e_s"]["mean"] / other["latency"]["e2e_s"]["mean"]
                     for one, other in zip(found, base, strict=True)])  # fmt: skip


def main() -> None:
    """Run the study; print the table, write it with the figure to ``--out``."""
    parser = argparse.ArgumentParser(description="How good must a predictor of output lengths be?")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/misprediction"))
    given = parser.parse_args()
    study = Study(given.out / "misprediction", given.quick, Workers(jobs=2))
    saved = {
        policy: [saved_share(study, policy, predictor) for _, predictor in PREDICTORS] for policy in POLICIES
    }
    labels = [label for label, _ in PREDICTORS]
    engines = ", ".join(study.engines)
    said = "95 % intervals over seeds, each for itself"
    print(f"mean E2E saved against first come first served, % ({said}); engine {engines}")
    for i, label in enumerate(labels):
        cells = "   ".join(f"{policy} {saved[policy][i].text('5.1f', 100):24s}" for policy in POLICIES)
        print(f"{label:22s}{cells}")
    columns: dict[str, Sequence[object]] = {"predictor": labels}
    for policy in POLICIES:
        for name in ("mean", "low", "high"):
            columns[f"{policy}_saved_{name}"] = [getattr(each, name) for each in saved[policy]]
    study.table("misprediction", columns)
    draw(study, labels, saved)
    study.workers.close()


def draw(study: Study, labels: Sequence[str], saved: Mapping[str, Sequence[Interval]]) -> None:
    """Draw what is saved over the predictors, with the 95 % intervals."""
    with drawing():
        figure, grid = axes(1, 1, width=5.0, height_in=2.8)
        ax = grid[0, 0]
        for policy, shift in zip(POLICIES, (-0.13, 0.13), strict=True):
            means = [100 * each.mean for each in saved[policy]]
            spread = [[100 * (each.mean - each.low) for each in saved[policy]],
                      [100 * (each.high - each.mean) for each in saved[policy]]]  # fmt: skip
            places = [i + shift for i in range(len(labels))]
            ax.errorbar(
                means, places, xerr=spread, fmt="o", color=policy_colour(policy), label=policy, capsize=2
            )
        ax.axvline(0, color=BLACK, linewidth=0.6)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(len(labels) - 0.5, -0.5)
        ax.set_xlabel("mean E2E saved against first come first served (%)")
        ax.legend(loc="best")
        study.save(figure, "misprediction")


if __name__ == "__main__":
    main()
