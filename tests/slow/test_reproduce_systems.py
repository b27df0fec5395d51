"""The studies of other systems: the command, the page, and verdicts that follow the data."""

import json

import numpy as np
import pytest

from experiments.commands import reproduce as command
from experiments.paper._gallery import Section
from experiments.paper._reproduce import Study
from experiments.systems import speculation
from experiments.systems._findings import Finding, shown, verdict
from experiments.systems._page import MOST_ROWS, PAGES, studies_page
from experiments.systems._speculation_runs import DRAFTERS, PLAIN, READERS, SERVERS, crossing, numbers, worth
from simulator import run
from simulator.cli import main as cli

WAYS = (*DRAFTERS, f"{PLAIN}, smooth", "EAGLE-3, smooth")
SEEDS = np.array([0.99, 1.0, 1.01])


def loads_of(speed_up=lambda rate: 1.6, gain=lambda rate: 0.0, lost=lambda rate: 0.0, ours=lambda rate: 0.0):
    """Made-up measurements of all cells; shares of a token's worth that are lost without drafts, and gained with."""
    found = {}
    for server, (_, rates) in SERVERS.items():
        for rate in map(float, rates):
            for way in WAYS:
                drafts = not way.startswith(PLAIN)
                share = 1 - lost(rate) + drafts * gain(rate) + way.endswith("smooth") * ours(rate)
                cell = {
                    "tpot_s": 0.01 * SEEDS / (speed_up(rate) if drafts else 1.0),
                    "tokens_per_s": 200 * rate * SEEDS,
                }
                cell |= {f"smooth, {name}": 200 * rate * SEEDS * share for name in READERS}
                found[server, rate, way] = cell
    return found


def test_the_speed_up_is_judged_at_1_and_at_8_requests():
    assert speculation.speed_up(loads_of(lambda rate: 1.6)).outcome == "partly"
    assert speculation.speed_up(loads_of(lambda rate: 1.6 if rate < 6 else 1.0)).outcome == "agree"
    assert speculation.speed_up(loads_of(lambda rate: 3.0)).outcome == "not"
    said = speculation.speed_up(loads_of(lambda rate: 1.6 if rate < 20 else 1.0)).measured
    assert "below 1.05 from 32 requests/s on" in said
    assert "below 1.05 from 24 requests/s on" in said


def test_readers_notice_where_waiting_is_lost():
    falls_behind = {"lost": lambda rate: 0.3 if rate > 30 else 0.0}
    rescued = loads_of(gain=lambda rate: 0.2 if rate > 30 else 0.0, **falls_behind)
    assert speculation.readers(rescued).outcome == "agree"
    assert "20 % at 20 tokens/s" in speculation.readers(rescued).measured
    assert speculation.readers(loads_of(**falls_behind)).outcome == "partly"
    assert speculation.readers(loads_of(gain=lambda rate: -0.05, **falls_behind)).outcome == "not"


def test_our_policy_is_judged_with_drafts():
    assert speculation.ours(loads_of(ours=lambda rate: 0.2 if rate > 35 else 0.0)).outcome == "partly"
    assert speculation.ours(loads_of(ours=lambda rate: 0.2)).outcome == "agree"
    assert speculation.ours(loads_of(ours=lambda rate: -0.2)).outcome == "not"


def test_a_gain_crosses_1_between_two_chances():
    assert crossing([0.1, 0.5, 0.9], [0.8, 0.9, 1.1]) == pytest.approx(0.7)
    assert crossing([0.1, 0.5], [1.2, 1.3]) == 0.1
    assert crossing([0.1, 0.5], [0.2, 0.3]) == 1.0


def test_numbers_are_those_of_the_run(tmp_path):
    study = Study(tmp_path / "s", quick=True)
    found = run(speculation.scenario(study, "8B, one H100", 1.0, 0, DRAFTERS["EAGLE-3"]))
    mine, summary = numbers(found, None), found.summary()
    assert mine["tpot_s"] == summary["latency"]["tpot_s"]["mean"]
    assert mine["smooth, 20 tokens/s"] == summary["smooth_goodput"]["smooth_goodput_tokens_per_s"]
    assert 0.9 < worth({name: np.array([each]) for name, each in mine.items()}, "5 tokens/s")[0] <= 1
    assert 2 < mine["accepted_length"] < 3.5


def test_a_verdict_stands_in_the_page_with_its_tables(tmp_path):
    study = Study(tmp_path / "mine")
    findings = [Finding("It | holds.", "agree", "3 of 4."), Finding("It does not.", "not", "1 of 4.")]
    found = verdict(study, "They say so.", findings)
    shown(study, "rates", {"rate": [1, 2], "gain": ["1.5", "1.0"]})
    shown(study, "long", {"rate": range(MOST_ROWS + 1)})
    study.table("all", {"rate": [1]})
    assert found.outcome == "partly reproduced"
    assert verdict(study, "", findings[:1]).outcome == "reproduced"
    verdict(study, "They say so.", findings)
    kept = {
        **vars(found),
        "runs": "full",
        "engines": ["vllm-0.24"],
        "files": list(dict.fromkeys(study.files)),
    }
    page = studies_page(
        PAGES["systems"], "systems", [Section("mine", "Mine", "mine", json.loads(json.dumps(kept)))], tmp_path
    )
    assert "| mine | Mine | **partly** | full |" in page
    assert "| It \\| holds. | **agree** | 3 of 4. |" in page
    assert "| rate | gain |\n|---|---|\n| 1 | 1.5 |\n| 2 | 1.0 |" in page
    assert "[all.csv](mine/all.csv)" in page
    assert "[table_long.csv](mine/table_long.csv)" in page
    assert "| 3 |" not in page
    assert "table_rates" not in page


def test_the_command_runs_studies_of_systems_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        speculation, "run", lambda study: verdict(study, "They say so.", [Finding("It.", "agree", "All.")])
    )
    assert cli.main(["reproduce", "speculation", "--out", str(tmp_path), "--jobs", "1", "--quick"]) == 0
    assert "speculation" in capsys.readouterr().out
    assert "| **agree** |" in (tmp_path / "systems.md").read_text().replace("\\", "")
    assert not (tmp_path / "paper.md").exists()
    assert cli.main(["reproduce", "speculatoin", "--out", str(tmp_path)]) == 2
    assert "did you mean 'speculation'" in capsys.readouterr().err
    assert command._chosen(["systems"]) == command.others("systems")
    assert "speculation" in {path.stem for path in command.others("systems")}
