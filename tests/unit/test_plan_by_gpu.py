"""What a plan says of each GPU type, of a day and a month, and of a spare replica."""

import json
from contextlib import redirect_stdout
from functools import cache
from io import StringIO

import pytest

from simulator.cli import main as cli

PLAN = """
target = ["latency.ttft_s.p99 <= 2.0", "token_slo.attainment >= 0.1"]
[set]
"workload.limit" = 30
"hardware.model" = "llama-3.1-8b"
"hardware.usd_per_kwh" = 0.5
[space]
gpus = ["l4", "a100-80gb-sxm", "h100-80gb-sxm"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = [1, 2]
settings = {}
"""
RANKED = "usd_per_hour_with_electricity"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    @cache
    def planned(*words, text=PLAN):
        folder = tmp_path_factory.mktemp("plan")
        (folder / "p.toml").write_text(text)
        out = folder / "out"
        with redirect_stdout(StringIO()) as printed:
            assert (
                cli.main(["plan", f"{folder}/p.toml", "--out", str(out), "--jobs=1", "--no-checks", *words])
                == 0
            )
        return json.loads((out / "plan.json").read_text()), printed.getvalue()

    return planned


def test_every_gpu_has_a_row_and_those_not_simulated_say_from_what_price_on(plan):
    found, printed = plan()
    rows = {row["gpu"]: row for row in found["gpus"]}
    assert rows.keys() == {"l4", "a100-80gb-sxm", "h100-80gb-sxm"}
    (cheapest, *_) = found["gpus"]
    assert cheapest["cluster"] == found["plan"]  # also among those that cost the same
    for row in found["gpus"]:
        if row["cluster"] is None and row["least_usd_per_hour"] is not None:
            assert row["least_usd_per_hour"] >= found["plan"]["usd_per_hour"]
            assert f"{row['least_usd_per_hour']:.2f} or more" in printed


def test_each_gpu_is_searched_where_that_is_wanted(plan):
    found, printed = plan("--each-gpu")
    states = {row["gpu"]: row["state"] for row in found["gpus"]}
    assert states["a100-80gb-sxm"] == states["h100-80gb-sxm"] == "keeps"
    assert not any(state.startswith("not simulated") for state in states.values())
    usd = [row["cluster"][RANKED] for row in found["gpus"] if row["state"] == "keeps"]
    assert usd == sorted(usd)
    assert usd[0] == found["plan"][RANKED]
    assert "or more" not in printed
    assert f"{730 * usd[1]:,.0f}" in printed


def test_a_day_a_month_and_a_spare_replica_have_a_price(plan):
    found, printed = plan()
    usd, replicas = found["plan"]["usd_per_hour"], found["plan"]["replicas"]
    assert f"a day ${24 * usd:,.2f}, a month ${730 * usd:,.0f}" in printed
    assert (
        f"N + 1, one replica more, so that one may fail: ${usd * (replicas + 1) / replicas:,.2f} an hour"
        in printed
    )


def test_electricity_has_a_price_beside_that_of_the_gpus(plan):
    found, printed = plan()
    numbers = found["plan"]["numbers"]
    usd = numbers["energy.usd_per_hour"]["mean"]
    kw = numbers["energy.watts_per_gpu"]["mean"] * found["plan"]["replicas"] / 1000
    assert usd == pytest.approx(0.5 * kw)
    assert f"${usd:.2f} an hour, ${730 * usd:,.0f} a month (an estimate, not validated" in printed
    assert found["plan"][RANKED] == round(found["plan"]["usd_per_hour"] + usd, 2)
    assert f"${found['plan'][RANKED]:.2f} an hour with electricity" in printed
    assert "price with electricity" in printed


def test_plans_are_ranked_by_gpus_and_their_electricity(plan):
    capped = PLAN.replace("settings = {}", 'settings = { "hardware.power_cap_w" = [400.0, 220.0] }')
    capped = capped.replace('"l4", "a100-80gb-sxm", "h100-80gb-sxm"', '"a100-80gb-sxm"')
    chosen = []
    for usd_per_kwh in (0.0, 50.0):
        found, printed = plan(text=capped.replace('usd_per_kwh" = 0.5', f'usd_per_kwh" = {usd_per_kwh}'))
        chosen.append(found["plan"]["settings"]["hardware.power_cap_w"])
        assert ("with electricity" in printed) == (RANKED in found["plan"]) == bool(usd_per_kwh)
    assert chosen == [400.0, 220.0]  # the larger margin; the cheaper to run
