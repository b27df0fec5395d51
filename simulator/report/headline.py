"""What stands above the pictures of a run: what was simulated in a line, and its few most telling numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.metrics._measure import SHARE_OF
from simulator.report.measured import measured_title
from simulator.report.measures import drawn_unit, in_drawn_unit
from simulator.report.style import GREY, INK
from simulator.report.text import number
from simulator.results.vocabulary import measure_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# First what all is about, then what users wait for, then what the machines give.
_CARDS = (
    "smooth_goodput.smooth_goodput_tokens_per_s",
    "token_slo.attainment",
    "latency.ttft_s.p50",
    "latency.ttft_s.p99",
    "latency.tpot_s.p99",
    "throughput.output_tokens_per_s",
)


class Card(NamedTuple):
    """A number to be read at a glance: ``"TTFT p99", "499", "ms"``."""

    label: str
    value: str
    unit: str


def cards(summary: Mapping[str, Any]) -> list[Card]:
    """Return the numbers that a run is known by; a number that it has not is ``-``."""
    found = []
    for key in _CARDS:
        measure = measure_of(key)
        digits = 3 if measure.unit.startswith(SHARE_OF) else 4
        value = number(in_drawn_unit(measure, measure.of(summary)), digits)
        found.append(Card(measure.label, value, drawn_unit(measure)))
    return found


def machines_of(manifest: Mapping[str, Any]) -> str:
    """Return GPUs, model and policies: ``2 x h100-80gb-sxm, llama-3.1-8b, vllm_v1, round_robin``."""
    pools = manifest["pools"]
    gpus: dict[str, int] = {}
    for pool in pools:
        size = pool["tensor_parallel_size"] * pool.get("pipeline_parallel_size", 1)
        gpus[pool["gpu"]] = gpus.get(pool["gpu"], 0) + pool["replicas"] * size
    parts = [
        " + ".join(f"{count} x {gpu}" for gpu, count in gpus.items()),
        " + ".join(
            dict.fromkeys(each.get("model", manifest["scenario"]["hardware"]["model"]) for each in pools)
        ),
    ]
    parts += dict.fromkeys(pool["scheduling"] for pool in pools)
    if sum(pool["replicas"] for pool in pools) > 1 or any(pool["scaling"] for pool in pools):
        routing = manifest["scenario"]["policy"]["routing"]
        parts.append(routing if isinstance(routing, str) else routing["name"])
    return ", ".join(map(str, parts))


def rate_of(summary: Mapping[str, Any]) -> str:
    """Return how many requests arrived, and how fast: ``3,000 requests, 19.1 a second``."""
    arrived, span_s = summary["states"]["arrived"], summary["window"]["duration_s"]
    said = f"{arrived:,} request{'' if arrived == 1 else 's'}"
    return f"{said}, {number(arrived / span_s, 3)} a second" if span_s and arrived > 1 else said


def title(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[str, str]:
    """Return the title of a run, and the line below it: its name, what arrived, the reader it is measured for."""
    rate, reader = rate_of(summary), manifest["scenario"]["user"]
    if "measured" in manifest:
        return measured_title(manifest), rate
    read = (
        f"a reader takes {f'{1 / v_s:.3g}'} tokens a second" if (v_s := reader.get("v_s_per_token")) else ""
    )
    return machines_of(manifest), "; ".join(filter(None, (f"{manifest['scenario']['name']}: {rate}", read)))


def draw_headline(
    figure: "Figure", titled: tuple[str, str], numbers: list[Card], top: float, left: float
) -> None:
    """Draw title, the line below and the cards; ``top``, ``left``: where they begin, in shares of the figure.

    All letters are as large whatever the figure: heights are counted in inches from its top.
    """
    height_in = float(figure.get_figheight())

    def at(below_in: float) -> float:
        return top - below_in / height_in

    figure.text(left, at(0.0), titled[0], fontsize=12, fontweight="bold", ha="left", va="top")
    figure.text(left, at(0.25), titled[1], fontsize=8.5, color=GREY, ha="left", va="top")
    for i, card in enumerate(numbers):
        x = left + i * (1 - 2 * left) / len(numbers)
        figure.text(x, at(0.55), card.label, fontsize=8, color=GREY, ha="left", va="top")
        figure.text(x, at(0.71), card.value, fontsize=15, fontweight="bold", color=INK, ha="left", va="top")
        figure.text(x, at(0.985), card.unit, fontsize=7, color=GREY, ha="left", va="top")
