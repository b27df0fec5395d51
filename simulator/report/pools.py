"""The pools of a run's unlike replicas beside one another."""

from collections.abc import Mapping
from typing import Any

from simulator.report.tables import PrintedCell, Table, TableColumn, amount, count


def by_pool(summary: Mapping[str, Any]) -> list[Table]:
    """Return a table of what each pool served and cost, a row each; nothing where all replicas are alike."""
    found = summary.get("pools")
    if not found:
        return []
    columns = [
        TableColumn("Pools", left=True, wraps=True),
        TableColumn("model", left=True, rank=3),
        TableColumn("requests"),
        TableColumn("TTFT p50", "ms", rank=2),
        TableColumn("TBT p99", "ms", rank=1),
        TableColumn("E2E mean", "ms"),
        TableColumn("smooth goodput", "tokens/s"),
        TableColumn("cost", "US$"),
        TableColumn("price", "US$ per million tokens", rank=4),
    ]
    rows: list[list[PrintedCell]] = []
    for name, each in found.items():
        latency, cost = each.get("latency"), each["cost"]
        times: list[PrintedCell] = [
            amount(None if latency is None else _ms(latency[key][what]))
            for key, what in (("ttft_s", "p50"), ("tbt_s", "p99"), ("e2e_s", "mean"))
        ]
        smooth = each.get("smooth_goodput", {}).get("smooth_goodput_tokens_per_s")
        prices = [amount(smooth), amount(cost["usd"]), amount(cost["usd_per_million_output_tokens"])]
        rows.append([name, each["model"], count(each["requests"]), *times, *prices])
    return [Table(columns, rows)]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds
