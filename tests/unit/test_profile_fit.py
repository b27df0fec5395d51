"""Fitting a profile to step timings: known coefficients come back, and what cannot be fitted is refused."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import load_gpu, load_model, step_cost
from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.fit import bare, step_shape, with_coefficients
from hardware_profiles.fit_timings import kernel_coefficients
from hardware_profiles.timings import read_timings
from simulator.cli import main as cli
from tests.refusals import folder, refusal  # noqa: F401

HEADING = ("prefill_tokens", "prior_context_tokens", "decode_seqs", "decode_context_tokens", "step_ms", "run")
TRUE = {"kernel_factor": 1.2, "step_ms": 1.5, "per_sequence_ms": 0.03, "prefill_step_ms": 2.5}
FIT = ("profile", "fit", "steps.csv", "--gpu", "h100-80gb-sxm", "--out", "mine.toml")


def points() -> list[tuple[int, int, int, int]]:
    """Prefill tokens, prior tokens, decodes and the context of each."""
    chunks = [(n, prior, 0, 0) for n in (64, 256, 1024, 4096, 8192) for prior in (0, 2048, 8192)]
    decodes = [(0, 0, b, c) for b in (1, 4, 16, 64, 200) for c in (256, 1024, 4096)]
    mixed = [(n, 0, b, 1024) for n in (128, 512, 2048) for b in (4, 64)]
    return chunks + decodes + mixed


def write(cost, noise=0.0, chosen=None, prefill_step_ms=0.0, path="steps.csv"):
    draw = np.random.default_rng(1)
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADING)
        for run in range(4):
            for n, prior, b, c in chosen or points():
                ms = (
                    1e3
                    * cost.step_s(step_shape([(n, prior)] if n else [], b, c))
                    * (1 + noise * draw.normal())
                )
                writer.writerow([n, prior, b, b * c, ms, f"run{run}"])


def engine(**changes):
    return load_gpu("h100-80gb-sxm").overheads().model_copy(update=changes)


def test_overheads_come_back_from_noisy_timings_within_their_standard_errors(capsys):
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b")
    write(step_cost(gpu, model, overheads=engine(**TRUE)), noise=0.02)
    assert cli.main([*FIT]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines() if line]
    stated = {words[0]: float(words[2]) for words in lines if words[0] in TRUE}
    fitted = load_gpu("mine.toml").overheads()
    assert fitted.asynchronous
    for name, value in TRUE.items():
        assert abs(getattr(fitted, name) - value) < 3 * stated[name]
        assert stated[name] < 0.1 * value
    assert "4 folds by run" in out
    left_out = float(next(line for line in out.splitlines() if line.startswith("all")).split()[4])
    assert 1.0 < left_out < 2.2  # the mean of |2 % normal noise| is 1.6 %


def test_efficiencies_come_back(capsys):
    gpu, model = load_gpu("l4"), load_model("llama-3.1-8b")
    true = {"linear_compute_efficiency": 0.6, "linear_bandwidth_efficiency": 0.7,
            "prefill_attention_efficiency": 0.4, "kv_read_efficiency": 0.75}  # fmt: skip
    slow = with_coefficients(gpu, kernel_coefficients(true))
    overheads = bare(gpu.overheads()).model_copy(update={**TRUE, "kernel_factor": 1.0})
    write(AnalyticCost(slow, model, 1, overheads), noise=0.01)
    arguments = ["profile", "fit", "steps.csv", "--gpu", "l4", "--out", "mine.toml", "--what", "efficiencies"]
    assert cli.main(arguments) == 0
    new = load_gpu("mine.toml")
    for name, value in true.items():
        assert getattr(new.kernel_fit, name) == pytest.approx(value, rel=0.05)
    assert new.overheads().step_ms == pytest.approx(1.5, abs=0.6)
    assert new.kernel_fit.error is not None
    assert new.kernel_fit.error.mixed_pct < 2
    assert new.kernel_fit.measured_range is not None
    assert new.kernel_fit.measured_range.max_decode_seqs == 200
    steps = read_timings(Path("steps.csv"))
    cost = step_cost(new, model)
    off = [1e3 * cost.step_s(step.shape) / step.step_ms - 1 for step in steps]
    assert np.abs(off).mean() < 0.015
    assert "steps left out are" in new.validated


def test_the_new_profile_can_be_simulated(capsys):
    write(step_cost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b"), overheads=engine(**TRUE)))
    assert cli.main([*FIT]) == 0
    assert cli.main(["run", "s.toml", "--set", "hardware.gpu=mine.toml", "--no-plot", "--out", "a"]) == 0
    capsys.readouterr()
    assert Path("a/summary.json").exists()
    assert "exists" in refusal(capsys, *FIT)
    assert cli.main([*FIT, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ([(0, 0, 8, 1024)], "1 different steps for 3 parameters; add more than 2 steps"),
        ([(0, 0, 8, 1000 + i) for i in range(8)], "cannot tell"),  # one batch size at all but one context
        ([(0, 0, b, 1024) for b in (64, 65, 66, 67, 68)], "cannot tell"),
    ],
)
def test_too_little_data_for_what_is_asked_is_refused_with_what_is_missing(capsys, chosen, says):
    write(step_cost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b")), chosen=chosen)
    asked = [word for name in ("kernel_factor", "step_ms", "per_sequence_ms") for word in ("--free", name)]
    sentence = refusal(capsys, *FIT, *asked)
    assert "under-determined" in sentence
    assert says in sentence
    assert "add " in sentence
    assert not Path("mine.toml").exists()


def test_what_the_data_do_not_determine_is_kept_and_said(capsys):
    alike = [(0, 0, b, 1024) for b in (64, 65, 66, 67, 68)]
    write(
        step_cost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b"), overheads=engine(**TRUE)),
        0.01,
        alike,
    )
    assert cli.main([*FIT]) == 0
    out, before, after = capsys.readouterr().out, engine(), load_gpu("mine.toml").overheads()
    for name, needs in (
        ("per_sequence_ms", "decode batches of very different size"),
        ("prefill_step_ms", "prompts"),
    ):
        assert re.search(rf"not determined, so kept: {name} = {getattr(before, name):g}; add .*{needs}", out)
        assert getattr(after, name) == getattr(before, name)
    assert after.kernel_factor > before.kernel_factor
    Path("steps.csv").write_text(",".join(HEADING) + "\n0,0,4,400,7.5,a\n0,0,4,400,7.4,a\n")
    assert "1 different steps for 3 parameters" in refusal(capsys, *FIT, "--overwrite")


def test_fewer_parameters_can_be_fitted_to_little_data(capsys):
    write(step_cost(load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b"), overheads=engine(step_ms=3.0)),
          chosen=[(0, 0, 8, 1000 + i) for i in range(8)])  # fmt: skip
    assert cli.main([*FIT, "--free", "step_ms"]) == 0
    assert load_gpu("mine.toml").overheads().step_ms == pytest.approx(3.0, abs=0.01)


GOOD_ROW = "0,0,4,400,7.5,a"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("0,0,4,400,fast,a", "line 3: step_ms: expected milliseconds above 0, got 'fast'"),
        ("0,0,4,400,-1,a", "line 3: step_ms"),
        ("0,0,4,400,inf,a", "line 3: step_ms"),
        ("0,0,1.5,400,7,a", "line 3: decode_seqs: expected a whole number, 0 or more, got '1.5'"),
        ("-1,0,4,400,7,a", "line 3: prefill_tokens"),
        ("0,0,0,0,7,a", "line 3: the step is empty"),
        ("0,5,4,400,7,a", "line 3: prior_context_tokens is 5 without prefill_tokens"),
        ("0,0,4,3,7,a", "line 3: decode_context_tokens is 3 for 4 decodes"),
        ("0,0", "line 3: the row ends before decode_seqs"),
        ("0,0,4,1e300,7,a", "line 3: decode_context_tokens"),
    ],
)
def test_bad_rows_are_named_by_line(capsys, row, says):
    Path("steps.csv").write_text(",".join(HEADING) + f"\n{GOOD_ROW}\n{row}\n")
    assert says in refusal(capsys, *FIT)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: column 'prefill_tokens' is missing"),
        ("prefill_tokens,step_ms\n1,2\n", "line 1: column 'prior_context_tokens' is missing"),
        (",".join(HEADING) + "\n", "no rows"),
        (",".join(HEADING) + '\n"0,0\n', "not CSV"),
    ],
)
def test_bad_files_are_refused(capsys, text, says):
    Path("steps.csv").write_text(text)
    assert says in refusal(capsys, *FIT)


def test_wrong_arguments_are_refused(capsys):
    Path("steps.csv").write_text(",".join(HEADING) + f"\n{GOOD_ROW}\n")
    assert "--free speed: expected one of kernel_factor" in refusal(capsys, *FIT, "--free", "speed")
    assert "--what all: expected overheads or efficiencies" in refusal(capsys, *FIT, "--what", "all")
    assert "expected the path of a .toml" in refusal(capsys, *FIT[:-1], "mine.json")
    assert "no.csv: cannot be read" in refusal(capsys, "profile", "fit", "no.csv", "--out", "b.toml")
    assert "expected one .csv" in refusal(capsys, "profile", "fit", "steps.csv", "b.json", "--out", "b.toml")
    assert "unknown gpu" in refusal(capsys, "profile", "fit", "a.csv", "--gpu", "h9", "--out", "b.toml")
