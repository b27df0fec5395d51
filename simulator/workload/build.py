"""How a scenario's traffic becomes a ``Workload``."""

from pathlib import Path

from simulator.workload import graph, predictors, sources
from simulator.workload.spec import CLIENTS_OF_A_PROCESS, SEND_GAP_S, WorkloadSpec
from simulator.workload.workload import Workload


def build(spec: WorkloadSpec, seed: int, base_dir: Path | None = None) -> Workload:
    """Make the traffic that ``spec`` describes; equal spec and seed give equal columns.

    A relative path is looked for in ``base_dir`` (the scenario file's folder), then in the working
    directory. Raises ``InputError`` for a file that is missing or wrong, or if nothing is left to run.
    """
    if spec.classes is not None:
        from simulator.workload import mix

        name, source, columns, segments = mix.of_classes(spec, seed, base_dir)
    else:
        name, source, columns = sources.traffic_of(spec, seed, base_dir)
        segments = columns.segments()
    columns.freeze()
    max_tokens = spec.max_tokens if spec.max_tokens is not None else int(columns.output_tokens.max())
    predicted = predictors.predict(spec, seed, columns.output_tokens, max_tokens)
    if predicted is not None:
        source.append(predictors.described(spec))
    if spec.concurrency is not None:
        ramp = f", which start over {spec.ramp_s:g} s" if spec.ramp_s else ""
        source.append(f"sent by {spec.concurrency:,} clients, one after another{ramp}")
    return Workload(
        name,
        columns.arrival_s,
        columns.prompt_tokens,
        columns.output_tokens,
        max_tokens,
        ", ".join(source),
        optional=columns.carried,
        leave_s=columns.leave_s(),
        concurrency=spec.concurrency,
        ramp_s=spec.ramp_s or 0.0,
        send_gap_s=_send_gap_s(spec),
        segments=segments,
        output_stream=None if segments is None else columns.output_stream(),
        predicted_tokens=predicted,
        session=columns.session,
        think_s=columns.think_s,
        model_names=columns.model_names,
        waits_for=graph.waited_for(columns),
    )


def _send_gap_s(spec: WorkloadSpec) -> float:
    """Return the least time between two requests of all clients: as many processes send for them as they need."""
    if spec.send_gap_s is not None:
        return spec.send_gap_s
    processes = -(-(spec.concurrency or 1) // CLIENTS_OF_A_PROCESS)
    return SEND_GAP_S / processes
