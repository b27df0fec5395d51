"""Does the engine decide as the real one did? Replays recordings of vLLM's and SGLang's own scheduler classes.

    python -m benchmarks.conformance [DIR]

Every ``*.json.gz`` below DIR (default: the recordings shipped with the project) is simulated with the
recording's requests, settings and cost formula, and compared step by step in every column. One line a
file: ``match``, or the first step that differs with both sides; the last line counts. Exit status 0 only
if all match. The recordings' schema is described in ``benchmarks/recordings/README.md``.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import conformance_sglang
from benchmarks.probe import Order, Probe
from hardware_profiles import native_rules
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v0 import VllmV0
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import assemble
from simulator.errors import StallError
from simulator.policy import Scheduler
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.results.collect import collect, readers_leave_s
from simulator.results.recorded import ending_rows
from simulator.results.tables import Incarnation, step_columns
from simulator.results.tokens import Delay, joined
from simulator.workload.workload import Workload

SHIPPED = Path(__file__).parent / "recordings"
NANO = 1e-9
TOLERANCE_NS = 5  # times are float seconds here and integer nanoseconds there
RATIO_TOLERANCE = 1e-9  # the sums of a ratio are taken in another order
TIMES = {"t_ns", "dur_ns", "t_sched_ns", "first_token_ns", "finish_ns"}
REASONS = {"COMPLETED": "length", "ABANDONED_BY_USER": "abort", "FAILED": "ignored", "UNFINISHED": None}


class RecordingsCost:
    """The recordings' invented price: 4 ms + 60 us a prefill token + 12 us a decode + 20 ns a context token."""

    def __init__(self, swap_ns_per_block: int) -> None:
        self.swap_ns_per_block = swap_ns_per_block

    def step_s(self, shape: StepShape) -> float:
        context = shape.prefill_context_tokens + shape.decode_context_tokens
        swap = self.swap_ns_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
        return (
            4_000_000 + 60_000 * shape.prefill_tokens + 12_000 * shape.decode_seqs + 20 * context + swap
        ) * NANO


def scheduler_of(engine: str, settings: dict[str, Any]) -> Scheduler:
    """The policy that stands for a recorded engine."""
    if "sglang" in engine:
        return conformance_sglang.scheduler_of(settings)
    if "v0" in engine:
        return VllmV0(
            enable_chunked_prefill=settings["enable_chunked_prefill"],
            preemption_mode=settings["preemption_mode"] or "recompute",
            scheduler_delay_factor=settings["delay_factor"],
        )
    return VllmV1(
        engine_version="0.11.0" if "0.11.0" in engine else "0.24.0",
        async_scheduling=engine.endswith("async"),
        policy=settings["policy"],
        enable_chunked_prefill=settings["enable_chunked_prefill"],
        enable_prefix_caching=settings["enable_prefix_caching"],
        long_prefill_token_threshold=settings["long_prefill_token_threshold"],
        scheduler_reserve_full_isl=settings.get("scheduler_reserve_full_isl"),
        watermark=settings.get("watermark", 0.0),
    )


def workload_of(recording: dict[str, Any]) -> Workload:
    """The recorded requests as traffic."""
    requests = recording["requests"]
    output = requests.get("output", requests["max_output"])
    aborts, segments = requests.get("abort_ns"), requests.get("segs")
    return Workload(
        recording["scenario"],
        np.array(requests["arrival_ns"]) * NANO,
        np.array(requests["prompt"]),
        np.array(output),
        max(requests["max_output"]),
        "a recording",
        limit_tokens=np.array(requests["max_output"]) if "output" in requests else None,
        priority=np.array(requests["priority"]) if "priority" in requests else None,
        leave_s=np.array([np.nan if t is None else t * NANO for t in aborts]) if aborts else None,
        segments=[[(stream, n) for stream, n in row] for row in segments] if segments else None,
        output_stream=np.array(requests["out_stream"]) if "out_stream" in requests else None,
    )


def limits_of(settings: dict[str, Any], strict_engine: bool = True) -> Limits:
    """The recorded engine's limits."""
    if "page_size" in settings:
        return conformance_sglang.limits_of(settings, strict_engine)
    return Limits(
        settings["max_num_seqs"],
        settings["max_num_batched_tokens"],
        settings["max_model_len"],
        settings["num_gpu_blocks"],
        settings["block_size"],
        num_cpu_blocks=settings.get("num_cpu_blocks", 0),
        strict_engine=strict_engine,
    )


def replay(recording: dict[str, Any]) -> tuple[Probe, Cluster]:
    """Simulate a recording, for as many steps as it has."""
    settings, engine = recording["settings"], recording["engine"]
    policy = scheduler_of(engine, settings)
    limits = limits_of(settings)
    workload = workload_of(recording)
    cost = RecordingsCost(settings.get("swap_ns_per_block", 0))
    deployment = colocated(lambda: policy, cost, limits, RoundRobin(), rules=native_rules(policy))
    cluster = assemble(workload, deployment)
    if "sglang" in engine:
        probe = Probe(cluster.replicas[0], conformance_sglang.order, conformance_sglang)
    else:
        probe = Probe(cluster.replicas[0], Order(engine, settings["enable_chunked_prefill"]))
    try:
        while len(probe.rows) <= len(recording["steps"]["t_ns"]) and cluster.advance(1):
            pass
    except StallError:
        pass  # the engine hangs in this recording, too
    return probe, cluster


def first_difference(recording: dict[str, Any]) -> str | None:
    """Return what differs first between a recording and its replay, with both sides; None if nothing does."""
    probe, cluster = replay(recording)
    steps = recording["steps"]
    n = len(steps["t_ns"])
    records = cluster.replicas[0].records
    steps_taken = records.rows("steps").T
    for index in range(n):
        if index >= len(probe.rows):
            return f"step {index}: recorded {_brief(steps, index)}, simulated nothing more"
        mine = probe.rows[index] | {
            "t_ns": steps_taken[index, 1],
            "dur_ns": steps_taken[index, 2] - steps_taken[index, 1],
        }
        for column, recorded in steps.items():
            theirs, ours = recorded[index], mine.get(column)
            if column in TIMES:
                same = ours is not None and abs(ours / NANO - theirs) <= TOLERANCE_NS
            elif column == "ratio":
                same = ours is not None and abs(ours - theirs) <= RATIO_TOLERANCE
            else:
                same = ours == theirs
            if not same:
                return f"step {index}, {column}: recorded {theirs}, simulated {ours}"
    truncated = recording["summary"]["truncated"]
    if len(probe.rows) > n and not truncated:
        return f"step {n}: recorded nothing more, simulated {probe.rows[n]['sched']}"
    return None if truncated else _results_differ(recording, cluster, probe)


def _results_differ(recording: dict[str, Any], cluster: Cluster, probe: Probe) -> str | None:
    """Compare how each request ended."""
    results = recording["results"]
    records = cluster.replicas[0].records
    ended = {
        int(request): (RequestState(int(state)).name, time_s)
        for request, state, time_s in records.rows("ended").T.tolist()
    }
    # What the engine gave out, whether or not the client was still there to take it
    n, lives = len(results["reason"]), [Incarnation(0, records)]
    until_s = readers_leave_s(n, ending_rows(cluster.refused), [records], None, None)
    tokens = joined(collect(lives, step_columns(lives), [0], n, until_s, Delay())[0])
    steps_of: list[list[int]] = [[] for _ in results["reason"]]
    for request, step in zip(tokens["request_id"].tolist(), tokens["step"].tolist(), strict=True):
        steps_of[request].append(step)
    for request, reason in enumerate(results["reason"]):
        state, time_s = ended.get(request, ("UNFINISHED", 0.0))
        expected = "length" if reason == "maxlen" else reason
        if REASONS[state] != expected:
            return f"request {request}: recorded {reason}, simulated {state}"
        runs = _runs(steps_of[request])
        if runs != results["tok_runs"][request]:
            return f"request {request}: recorded tokens in steps {results['tok_runs'][request]}, simulated {runs}"
        finish_ns = results["finish_ns"][request]
        if finish_ns is not None and abs(time_s / NANO - finish_ns) > TOLERANCE_NS:
            return f"request {request}: recorded its end at {finish_ns} ns, simulated {time_s / NANO:.0f} ns"
    return None


def _runs(steps: list[int]) -> list[list[int]]:
    """Steps as [[first, how many in a row], ...]."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][0] + runs[-1][1] == step:
            runs[-1][1] += 1
        else:
            runs.append([step, 1])
    return runs


def _brief(steps: dict[str, list[Any]], index: int) -> str:
    text = str(steps["sched"][index])
    return text if len(text) < 80 else text[:77] + "..."


def recordings(folder: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """All recordings below a folder, with their names."""
    for path in sorted(folder.rglob("*.json.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield path.relative_to(folder).as_posix().removesuffix(".json.gz"), json.load(file)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=SHIPPED, metavar="DIR")
    folder: Path = parser.parse_args(arguments).folder
    total = matching = 0
    for name, recording in recordings(folder):
        try:
            difference = first_difference(recording)
        except RuntimeError as error:
            print(f"conformance: {error}", file=sys.stderr)
            return 2
        total += 1
        matching += difference is None
        print(f"{name}: {difference or 'match'}", flush=True)
    if not total:
        print(f"{folder}: no *.json.gz below it; expected a folder of recordings", file=sys.stderr)
        return 2
    print(f"{matching} of {total} recordings match")
    return 0 if matching == total else 1


if __name__ == "__main__":
    sys.exit(main())
