"""What a plan costs, in words and as a table: an hour, a day, a month, with a spare replica, and by GPU type."""

import math

from simulator.report.energy import DOUBT
from simulator.report.measures import in_printed_unit, printed_unit
from simulator.report.tables import Amount, PrintedCell, PrintedPart, Table, TableColumn, amount
from simulator.report.text import counted, number
from simulator.results.vocabulary import measure_of
from simulator.studies.plan.by_gpu import HOURS_A_MONTH, USD_PER_MILLION, by_gpu
from simulator.studies.plan.goals import ELECTRICITY, ELECTRICITY_USD, TTFT_P99
from simulator.studies.plan.plan import FoundPlan, Place


def name(place: Place) -> str:
    """Name a candidate."""
    return place[0].name(place[1])


def gpu_table(found: FoundPlan) -> list[PrintedPart]:
    """Return what each GPU type comes to."""
    ttft = measure_of(TTFT_P99)
    columns = [
        TableColumn("GPU", left=True),
        TableColumn("cheapest that keeps the target", left=True, wraps=True, rank=5),
        *price_columns(found),
        TableColumn("a month", "$", rank=2),
        TableColumn("per million tokens", "$", rank=3),
        TableColumn(ttft.label, printed_unit(ttft), rank=4),
        TableColumn("margin", rank=1),
        TableColumn("target", left=True),
    ]
    rows: list[list[PrintedCell]] = []
    for row in by_gpu(found):
        if row.place is None:
            usd = row.least_usd_per_hour
            price = Amount(usd, "-" if usd is None else f"{usd:,.2f} or more")
            unknown = [Amount(None, "-")] * (len(columns) - 4)
            rows.append([row.gpu, "", price, *unknown, row.state])
            continue
        usd, margin = (
            found.usd_per_hour(row.place),
            found.runs.outcomes[row.place[0].number, row.place[1]].margin(found.plan.goals),
        )
        rows.append(
            [
                row.gpu, name(row.place), *price_cells(found, row.place),
                Amount(HOURS_A_MONTH * usd, f"{HOURS_A_MONTH * usd:,.0f}"),
                amount(found.value(row.place, USD_PER_MILLION), 3),
                amount(in_printed_unit(ttft, found.value(row.place, TTFT_P99))), margin_text(margin), row.state,
            ]
        )  # fmt: skip
    return [Table(columns, rows)]


def price_columns(found: FoundPlan) -> list[TableColumn]:
    """Return the columns of a candidate's price, and of the part of it that is electricity."""
    if not with_electricity(found):
        return [TableColumn("price", "$/hour")]
    return [TableColumn("price with electricity", "$/hour"), TableColumn("electricity", "$/hour", rank=1)]


def price_cells(found: FoundPlan, place: Place) -> list[PrintedCell]:
    """Return what stands in ``price_columns``."""
    usd = dollars(found.usd_per_hour(place))
    return [usd, amount(found.value(place, ELECTRICITY_USD), 3)] if with_electricity(found) else [usd]


def with_electricity(found: FoundPlan) -> bool:
    """Whether prices have electricity in them: its price was given, and is not 0."""
    return bool(found.plan.base.hardware.usd_per_kwh)


def longer(found: FoundPlan, place: Place) -> list[str]:
    """Say what a day and a month of the GPUs cost, and with one replica that may fail."""
    line, chosen = place
    usd, unit = line.usd_per_hour(chosen), line.unit
    alone = ", GPUs alone" if with_electricity(found) else ""
    spare = line.usd_per_hour(chosen + unit)
    what = "one replica more" if unit == 1 else f"{unit} replicas more ({line.hardware(unit)})"
    if line.kinds is not None:
        spare = usd + sum(kind.usd_per_hour for kind in line.kinds)
        what = "one replica more of each kind"
    return [
        f"a day ${24 * usd:,.2f}, a month ${HOURS_A_MONTH * usd:,.0f} ({HOURS_A_MONTH} h{alone}), all as at the peak",
        f"N + 1, {what}, so that one may fail: ${spare:,.2f} an hour, ${HOURS_A_MONTH * spare:,.0f} a month",
    ]


def electricity(found: FoundPlan, place: Place) -> list[str]:
    """Say what the GPUs of a candidate draw, and what that costs beside their price; nothing if it was not asked."""
    watts, usd, joules = (found.value(place, key) for key in ELECTRICITY)
    if watts is None or usd is None or joules is None:
        return []
    draws = f"electricity: {number(watts)} W a GPU, {number(joules)} J an output token"
    if with_electricity(found):
        draws = f"ranked with electricity; without it ${place[0].usd_per_hour(place[1]):.2f} an hour; {draws}"
    return [f"{draws}, ${usd:.2f} an hour, ${HOURS_A_MONTH * usd:,.0f} a month ({DOUBT})"]


def dollars(usd: float) -> Amount:
    """Return US$ with cents."""
    return Amount(usd, f"{usd:,.2f}")


def priced(found: FoundPlan, place: Place) -> str:
    """Name a candidate with the price by which it was ranked, and its GPUs."""
    gpus = sum(place[0].gpus(place[1]).values())
    what = " with electricity" if with_electricity(found) else ""
    return f"{name(place)}, ${found.usd_per_hour(place):.2f} an hour{what}, {counted(gpus, 'GPU')}"


def margin_text(share: float) -> str:
    """Return a margin in percent of the bound."""
    if not math.isfinite(share):
        return "-"
    return f"{share:+.1%}" if abs(share) < 1 else f"{share:+,.0%}"
