"""Chunked prefill shortens tail TBT, but raises smooth goodput only in part of the plane.

**Question.** Splitting prompts into chunks keeps the steps that every decode waits for short, at the price of more
steps a prompt. Tail TBT, the classic measure, always welcomes that. What do the readers get, at which load,
chunk size and prompt length?

**Expected.** Nothing to gain for short prompts or at low load, where a gap between tokens is shorter than a
reader's pace anyway. A gain for long prompts near saturation, where whole prompts starve the readers who wait
beside them; a loss for chunks so small that they cost capacity.

**Reading of the paper.** A reader takes a token every 0.05 s; benefit is tokens less linear idle latency at
1/V. The upper maps count idle time from arrival, the lower from the first token: then the longer wait for the
first token, which is what chunks cost, is not seen.

**Runs.** vllm_v1 on one H100, LLaMA-3.1-8B, max_model_len 16384, Poisson arrivals for 40 s (20 s in quick mode);
ShareGPT lengths, or fixed prompts of 1024, 4096 and 8192 tokens with 256 tokens of output. Chunk size is the
token budget of a step (max_num_batched_tokens); unchunked (enable_chunked_prefill off) the budget is 16384, as
vLLM sets it, and a prompt waits until it fits whole. Load 1 is what unchunked serves when always backlogged.
With and without chunks meet the same requests (common random numbers).

**Test.** Gains are paired over seeds; tests are at 95 %, corrected for all 120 cells (Holm). Tail TBT is p99 over all
gaps; smooth goodput gained is relative to the tokens a second delivered unchunked, over the arrivals' time. A cell is
higher or lower if its gain is shown to be above or below 0 (two-sided), and the same if it is shown to be within
0.5 %, the margin of all claims here (two one-sided tests). Reproduced: tail TBT, as mean logarithm of the ratio over
all cells, is lower (interval below 0), and smooth goodput is higher in at least 10 % of the cells, and in at least
10 % lower or the same. Partly: only the first. The share was 5 % before, without a correction, of which chance alone
gives half; now it gives one cell in one of 20 repetitions. In the figure + is better, − worse, = within 0.5 %, each
after the correction, and an empty cell undecided.

Takes about 5 s (quick) and 2 min (full) on one core.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import MATERIAL, ORIGINS, SOME, RunSummary, Study, Verdict, axes, main
from experiments.paper._scenarios import base_scenario
from simulator.arrays import Floats
from simulator.metrics._options import Origin
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, holm, interval, p_above, signs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage


CLAIM = (
    "Chunked prefill lowers tail TBT, but raises smooth goodput only for some loads, chunk sizes and prompts."
)
SETTINGS = PROTOCOL.studies["C5"]
LOAD_1_RPS = {int(tokens): rps for tokens, rps in SETTINGS["load_1_rps"].items()}
LOADS, CHUNKS = tuple(SETTINGS["loads"]), tuple(SETTINGS["chunks"])
OUTPUT_TOKENS = SETTINGS["output_tokens"]
Mark = Literal["+", "-", "=", ""]


@dataclass(frozen=True)
class Plane:
    """What chunks changed for one prompt length, f64[seed, chunk size, load]."""

    prompt_tokens: int
    chunks: tuple[int, ...]
    loads: tuple[float, ...]
    tail: Floats  # logarithm of p99 TBT over that without chunks
    gain: Mapping[Origin, Floats]  # smooth goodput gained / throughput without chunks

    @property
    def title(self) -> str:
        """What the prompts are."""
        return f"{self.prompt_tokens}-token prompts" if self.prompt_tokens else "ShareGPT prompts"


def cells(values: Floats) -> list[list[Interval]]:
    """Return the interval over seeds of every cell of f64[seed, row, column]."""
    return [
        [interval(values[:, i, j].tolist()) for j in range(values.shape[2])] for i in range(values.shape[1])
    ]


def judge(planes: Sequence[Plane]) -> Verdict:
    """Apply the test of this file."""
    per_seed = np.mean([plane.tail.mean(axis=(1, 2)) for plane in planes], axis=0)
    tail = interval(per_seed.tolist())
    higher, lower, same, count = _counted(planes, "arrival")
    some = higher >= SOME * count and lower + same >= SOME * count
    percent = Interval(*(float(np.expm1(each)) for each in (tail.mean, tail.low, tail.high)))
    best, best_at = max(((c.mean, _where(p, i, j)) for p, i, j, c in _all(planes)), key=lambda each: each[0])
    worst, worst_at = min(
        ((c.mean, _where(p, i, j)) for p, i, j, c in _all(planes)), key=lambda each: each[0]
    )
    first = _counted(planes, "first_token")
    numbers = (
        f"Tail TBT changes by {percent.text('+.1f', 100)} % (geometric mean over cells). Smooth goodput is"
        f" shown to be higher in {higher} of {count} cells, lower in {lower}, within {MATERIAL:.1%} in {same} (clock"
        f" from the first token: {first[0]}, {first[1]}, {first[2]}). Most gained: {best:+.0%} of throughput"
        f" ({best_at}); most lost: {worst:+.0%} ({worst_at})."
    )
    caption = (
        f"Tail TBT changes by {percent.text('+.0f', 100)} %; smooth goodput is higher in {higher} of {count} cells,"
        f" lower in {lower}, the same in {same}."
    )
    if tail.below_zero:
        return Verdict("reproduced" if some else "partly reproduced", CLAIM, numbers, caption)
    return Verdict("not reproduced", CLAIM, numbers, caption)


def marks(planes: Sequence[Plane], origin: Origin) -> list[list[list[Mark]]]:
    """Return what is shown of every cell: more smooth goodput, less, about the same, or nothing; by plane and row."""
    every = [
        plane.gain[origin][:, i, j].tolist() for plane in planes for i, j in np.ndindex(plane.tail.shape[1:])
    ]
    sides = signs(every)
    alike = holm([max(p_above(cell, -MATERIAL), 1 - p_above(cell, MATERIAL)) for cell in every])
    found: Iterator[Mark] = iter(
        ["=" if same else ("", "+", "-")[side] for side, same in zip(sides, alike, strict=True)]
    )
    return [[[next(found) for _ in plane.loads] for _ in plane.chunks] for plane in planes]


def _tail_marks(planes: Sequence[Plane]) -> list[list[list[Mark]]]:
    """Return where tail TBT is shown to be shorter (+) or longer."""
    longer = [plane.tail[:, i, j].tolist() for plane in planes for i, j in np.ndindex(plane.tail.shape[1:])]
    found: Iterator[Mark] = iter([("", "-", "+")[side] for side in signs(longer)])
    return [[[next(found) for _ in plane.loads] for _ in plane.chunks] for plane in planes]


def _counted(planes: Sequence[Plane], origin: Origin) -> tuple[int, int, int, int]:
    """Cells with more smooth goodput, with less, with about the same; and all."""
    every = [mark for plane in marks(planes, origin) for row in plane for mark in row]
    return every.count("+"), every.count("-"), every.count("="), len(every)


def _all(planes: Sequence[Plane]) -> list[tuple[Plane, int, int, Interval]]:
    return [
        (plane, i, j, cell)
        for plane in planes
        for i, row in enumerate(cells(plane.gain["arrival"]))
        for j, cell in enumerate(row)
    ]


def _where(plane: Plane, i: int, j: int) -> str:
    return f"{plane.title}, chunks of {plane.chunks[i]}, load {plane.loads[j]:g}"


def scenario(prompt_tokens: int, load: float, chunk: int, seed: int, span_s: float) -> Scenario:
    """Return one simulation; chunk 0 is none."""
    rate_rps = load * LOAD_1_RPS[prompt_tokens]
    overrides: dict[str, Any] = {"engine.max_model_len": 16384}
    if prompt_tokens:
        overrides |= {
            "workload.lengths": None,
            "workload.prompt_tokens": prompt_tokens,
            "workload.output_tokens": OUTPUT_TOKENS,
        }
    if chunk:
        overrides["engine.max_num_batched_tokens"] = chunk
    else:
        overrides["policy.scheduling"] = {"name": "vllm_v1", "enable_chunked_prefill": False}
    return base_scenario(
        rate_rps=rate_rps, requests=max(20, round(rate_rps * span_s)), seed=seed, overrides=overrides
    )


def run(study: Study) -> Verdict:
    """Map the planes, draw and judge."""
    quick, seeds = study.quick, study.first_seeds(SETTINGS["seeds"])
    prompts = (1024, 8192) if quick else tuple(LOAD_1_RPS)
    loads, chunks = (LOADS[1::2], CHUNKS[::2]) if quick else (LOADS, CHUNKS)
    span_s = SETTINGS["arrivals_s"] / (2 if quick else 1)
    keys = [(p, c, load, s) for p in prompts for s in seeds for c in (0, *chunks) for load in loads]
    scenarios = [scenario(p, load, chunk, seed, span_s) for p, chunk, load, seed in keys]
    found = study.both_origins(scenarios, label="C5 chunked prefill")
    shape = len(prompts), len(seeds), 1 + len(chunks), len(loads)
    tail = np.log(_values(found["arrival"], shape, "latency", "tbt_s", "p99"))
    throughput = _values(found["arrival"], shape, "throughput", "output_tokens_per_s")
    smooth = {o: _values(found[o], shape, "smooth_goodput", "smooth_goodput_tokens_per_s") for o in ORIGINS}
    planes = [
        Plane(
            prompt,
            chunks,
            loads,
            tail[i, :, 1:] - tail[i, :, :1],
            {o: (smooth[o][i, :, 1:] - smooth[o][i, :, :1]) / throughput[i, :, :1] for o in ORIGINS},
        )
        for i, prompt in enumerate(prompts)
    ]
    _write(study, planes)
    _draw(study, planes)
    return judge(planes)


def _values(found: Sequence[RunSummary], shape: tuple[int, ...], *keys: str) -> Floats:
    values: list[Any] = list(found)
    for key in keys:
        values = [each[key] for each in values]
    return np.array(values, np.float64).reshape(shape)


def _write(study: Study, planes: Sequence[Plane]) -> None:
    rows = []
    for plane in planes:
        tables = [cells(plane.tail), *(cells(plane.gain[origin]) for origin in ORIGINS)]
        for i, chunk in enumerate(plane.chunks):
            for j, load in enumerate(plane.loads):
                bounds = [(cell.mean, cell.low, cell.high) for cell in (table[i][j] for table in tables)]
                rate_rps = load * LOAD_1_RPS[plane.prompt_tokens]
                rows.append((plane.title, chunk, load, rate_rps, *np.ravel(bounds).tolist()))
    what = ("log_tail_tbt_ratio", "smooth_gain_from_arrival", "smooth_gain_from_first_token")
    columns = (
        "prompts",
        "chunk_tokens",
        "load",
        "rate_rps",
        *(n + s for n in what for s in ("", "_low", "_high")),
    )
    study.table("chunk_maps", dict(zip(columns, zip(*rows, strict=True), strict=True)))


def _draw(study: Study, planes: Sequence[Plane]) -> None:
    figure, grid = axes(3, len(planes), width="text", height_in=5.2, sharex=True, sharey=True)
    rows = (
        ("tail TBT", [np.exp(p.tail.mean(axis=0)) for p in planes], _tail_marks(planes)),
        *(
            (
                f"from {o.replace('_', ' ')}",
                [100 * p.gain[o].mean(axis=0) for p in planes],
                marks(planes, o),
            )
            for o in ORIGINS
        ),
    )
    for row, (text, means, shown) in enumerate(rows):
        for column, plane in enumerate(planes):
            image = _map(grid[row, column], plane, means[column], shown[column], is_tail=row == 0)
            if row == 0:
                grid[row, column].set_title(plane.title)
        grid[row, 0].set_ylabel(f"{text}\nchunk, tokens")
        bar = figure.colorbar(image, ax=grid[row].tolist(), aspect=14, pad=0.01, extend="both")
        bar.set_label("p99 TBT, chunked/whole" if row == 0 else "smooth goodput gained,\n% of throughput")
        bar.outline.set_visible(False)
        if row == 0:
            bar.set_ticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"])
            bar.ax.minorticks_off()
    figure.supxlabel("load (1: saturated without chunks)", fontsize=8)
    study.save(figure, "chunk_maps")


def _map(
    panel: "Axes", plane: Plane, mean: Floats, shown: Sequence[Sequence[Mark]], is_tail: bool
) -> "AxesImage":
    """Colour the cells, blue for better, and write what is shown of each."""
    from matplotlib.colors import LogNorm, Normalize

    norm = LogNorm(0.1, 10) if is_tail else Normalize(-50, 50)
    image = panel.imshow(
        mean,
        origin="lower",
        aspect="auto",
        cmap="RdBu_r" if is_tail else "RdBu",
        norm=norm,
        interpolation="nearest",
    )
    for i, row in enumerate(shown):
        for j, mark in enumerate(row):
            dark = abs(norm(mean[i, j]) - 0.5) > 0.35
            text = mark.replace("-", "\N{MINUS SIGN}")
            panel.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    panel.set_xticks(range(len(plane.loads)), [f"{load:g}" for load in plane.loads])
    panel.set_yticks(range(len(plane.chunks)), [str(chunk) for chunk in plane.chunks])
    panel.grid(visible=False)
    panel.tick_params(length=0)
    return image


if __name__ == "__main__":
    main(run)
