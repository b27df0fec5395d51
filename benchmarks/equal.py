"""Whether this checkout computes what another one does, to the bit, and how fast: ``python -m benchmarks.equal OLD``.

Random deployments of every kind (``tests/cluster_cases.py``), the demo and the works W1 to W8 are simulated in
either checkout, each in a process of its own; digests of the tables of requests, tokens, steps and transfers are
compared one by one. ``--speed`` times the engine on the works in turn and prints after / before.
"""

import argparse
import gc
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

TABLES = ("requests", "tokens", "steps", "transfers")
SMALL_W5 = 50_000  # requests: a twentieth
SMALL_W8 = 5_000  # turns: a tenth
ROUNDS = 3


def digest(tables: Any) -> str:
    """Return a digest of all columns of all tables."""
    found = hashlib.sha256()
    for name in TABLES:
        table = getattr(tables, name)
        for column in table:
            found.update(f"{name}.{column}".encode() + table[column].tobytes())
    return found.hexdigest()[:16]


def random_deployments(examples: int, seed: int) -> Iterator[tuple[str, str]]:
    """Simulate so many of each kind; yield each one's kind and digest, or how it failed."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    # It also draws constants that it finds in the code, which is another one in the other checkout.
    drawing: Any = import_module("hypothesis.internal.conjecture.providers")
    drawing._get_local_constants = drawing.Constants
    cases: Any = import_module("tests.cluster_cases")  # of the checkout

    for mode in cases.MODES:
        found: list[str] = []

        @seeded(seed)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases.deployments(modes=[mode]))
        def one(case: Any) -> None:
            outcome = cases.play(*case)[1]
            found.append("stalled" if outcome.stalled else digest(outcome.tables))  # noqa: B023 (called at once)

        one()
        for each in found:
            yield mode, each


def works() -> dict[str, Any]:
    """Return the works by name, W5 and W8 in the small."""
    from benchmarks.works import WORKS, Work, many

    demo = Work("demo", "the demo", ())
    chat = "workload.arrivals=poisson", "workload.rate_rps=24", "workload.requests=10000"
    lengths, four = "workload.lengths=chat_azure2023", "cluster.replicas=4"
    clients = "workload.trace=azure2023_conv", "workload.limit=6000", "workload.concurrency=200"
    return {
        "demo": demo,
        **{name: WORKS[name] for name in ("W1", "W2", "W3", "W4")},
        "least_loaded": Work("least_loaded", "24/s", (*chat, lengths, four, "policy.routing=least_loaded")),
        "closed": Work("closed", "200 clients in closed loop", (*clients, four)),
        "W5/20": many(SMALL_W5, "W5/20"),
        **{name: WORKS[name] for name in ("W7", "W7b")},
        "W8/10": WORKS["W8"].with_settings("W8/10", f"workload.limit={SMALL_W8}"),
    }


def play_work(work: Any, *, tables: bool) -> tuple[float, str]:
    """Simulate a work; return the engine's CPU seconds, and the digest of its tables if asked for."""

    here: Any = import_module(
        "benchmarks.works"
    )  # of the checkout, whose engine stands where it stands there
    prepared = here.prepare(work)
    cluster = prepared.cluster()
    gc.set_threshold(200_000, 50, 100)  # as the command has it
    begun_s = time.process_time()
    here.play(cluster)
    took_s = time.process_time() - begun_s
    if not tables:
        return took_s, ""
    unfold = sys.modules[here.play.__module__].unfold
    return took_s, digest(unfold(cluster)[0])


def child(argument: str) -> None:
    """In a checkout: do what is asked and print it as JSON lines."""
    ask = json.loads(argument)
    if "work" in ask:
        print(json.dumps(play_work(works()[ask["work"]], tables=ask["tables"])))
    else:
        for row in random_deployments(ask["examples"], ask["seed"]):
            print(json.dumps(row))


def ask(checkout: Path, **question: Any) -> list[Any]:
    """Ask a checkout; return the rows that it printed."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='equal')['child'](sys.argv[2])"
    command = [sys.executable, "-c", code, __file__, json.dumps(question)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {done.stderr.strip().splitlines()[-1]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    """Compare; return 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, help="the other checkout")
    parser.add_argument("--examples", type=int, default=334, help="random deployments of each of nine kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", action="store_true", help="time the works instead of comparing tables")
    parser.add_argument("--works", nargs="*", help=f"only these of {', '.join(works())}")
    given = parser.parse_args()
    new, old = Path(__file__).parent.parent, given.old.resolve()
    names = list(works()) if given.works is None else given.works
    if given.speed:
        for name in names:
            best = {new: float("inf"), old: float("inf")}
            for _ in range(ROUNDS):
                for each in best:
                    best[each] = min(best[each], ask(each, work=name, tables=False)[0][0])
            print(
                f"{name}: {best[new]:.2f} s, before {best[old]:.2f} s: {best[new] / best[old]:.2f}",
                flush=True,
            )
        return 0
    different = 0
    for name in names:
        same = ask(new, work=name, tables=True)[0][1] == ask(old, work=name, tables=True)[0][1]
        different += not same
        print(f"{name}: {'equal' if same else 'DIFFERENT'}", flush=True)
    rows = [ask(each, examples=given.examples, seed=given.seed) for each in (new, old)]
    if len(rows[0]) != len(rows[1]):
        print(f"the checkouts drew {len(rows[0])} and {len(rows[1])} random deployments, not the same ones")
        return 1
    for mode in dict.fromkeys(row[0] for row in rows[0]):
        pairs = [(a[1], b[1]) for a, b in zip(*rows, strict=True) if a[0] == mode]
        wrong = sum(a != b for a, b in pairs)
        different += wrong
        print(f"{mode}: {len(pairs) - wrong} of {len(pairs)} equal", flush=True)
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
