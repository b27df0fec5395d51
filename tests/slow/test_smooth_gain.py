"""The study of ``smooth`` runs on a set of one's own, goes on where it stopped, and its bound holds."""

import csv
import json

from experiments.studies import smooth_gain

SET = {
    "traffic": {
        "chat": {
            "workload": {"arrivals": "poisson", "lengths": "chat_sharegpt_vllm"},
            "span_s": 2.0,
            "seed": 1,
        }
    },
    "hardware": {"A100 8B": ["a100-80gb-sxm", "llama-3.1-8b"]},
}


def test_a_set_of_ones_own_is_measured_once_below_its_bound(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(SET))
    some = ["andes", "smooth", "srpt", "static", "vllm_v0", "vllm_v1"]
    monkeypatch.setattr(smooth_gain, "discover", lambda _: some)
    monkeypatch.setattr("sys.argv", ["smooth_gain", str(mine), "--out", str(tmp_path)])
    smooth_gain.main()
    first = capsys.readouterr().out
    points = tmp_path / "mine" / "points.csv"
    rows = list(csv.DictReader(points.read_text().splitlines()))
    policies = {*some, *smooth_gain.VARIANTS} - {"static"}
    assert len(rows) == len(policies) * len(smooth_gain.SCORINGS) * len(smooth_gain.LOADS)
    assert len({tuple(row.values())[:6] for row in rows}) == len(rows)
    limits = {tuple(row.values())[:4]: float(row["bound"]) for row in rows if row["bound"] != "nan"}
    assert len(limits) == len(smooth_gain.OWN_RATES) * len(smooth_gain.LOADS)
    for row in rows:
        assert float(row["benefit"]) <= limits.get(tuple(row.values())[:4], float(row["tokens"])) + 1e-6
    for scoring in smooth_gain.SCORINGS:
        assert f"\n{scoring:13s}     3 " in first
    smooth_gain.main()  # all is there
    assert capsys.readouterr().out == first
    assert list(csv.DictReader(points.read_text().splitlines())) == rows
