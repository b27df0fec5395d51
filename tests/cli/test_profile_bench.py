"""Fitting engine overheads to results of vllm bench serve: simulated results give their overheads back."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import load_gpu
from hardware_profiles.gpu_file import write_gpu
from servesim import run
from simulator.cli import main as cli
from simulator.scenario.resolve import make_policy, resolve_pool
from simulator.scenario.scenario import Scenario
from simulator.studies.calibration.bench_results import read_bench
from simulator.studies.calibration.served import Server, serve
from tests.refusals import folder, refusal  # noqa: F401

EXAMPLE = Path(__file__).parent.parent / "data" / "bench" / "vllm_bench_serve_detailed.json"
TRUE = {"kernel_factor": 1.15, "step_ms": 1.4, "per_sequence_ms": 0.03, "frontend_s": 0.012}
FIT = ("profile", "fit", "--gpu", "h100-80gb-sxm", "--model", "llama-3.1-8b", "--out", "mine.toml")
EACH = [word for name in TRUE for word in ("--free", name)]
# clients, prompt tokens, output tokens, requests
LOADS = [(1, 500, 60, 8), (64, 200, 40, 128), (16, 4000, 20, 32), (128, 1000, 30, 128), (4, 2000, 60, 12)]


def bench(clients, prompt, output, n, *, detailed=False):
    """Return what vllm bench serve would report, were the simulator the server."""
    scenario = Scenario(policy={"scheduling": {"name": "vllm_v1", "engine_version": "0.24.0"}})
    parts = resolve_pool(scenario)
    cost = type(parts.cost)(
        parts.gpu, parts.model, parts.cost.table, 1, parts.cost.overheads.model_copy(update=TRUE)
    )
    scheduling = scenario.policy.scheduling
    server = Server(
        cost, parts.limits, lambda: make_policy("scheduling", scheduling), TRUE["frontend_s"], parts.rules
    )
    result = {
        "request_rate": "inf", "burstiness": 1.0, "max_concurrency": clients, "num_prompts": n, "completed": n,
        "total_input_tokens": n * prompt, "total_output_tokens": n * output, "mean_ttft_ms": 1, "mean_tpot_ms": 1,
    }  # fmt: skip
    if detailed:
        result |= {"input_lens": [prompt] * n, "output_lens": [output] * n}
    Path("tmp.json").write_text(json.dumps(result))
    served = serve(read_bench(Path("tmp.json")).workload, server)
    return result | {
        "mean_ttft_ms": 1e3 * float(served.ttft_s.mean()), "mean_tpot_ms": 1e3 * float(served.tpot_s.mean())
    }  # fmt: skip


def write(loads):
    for i, load in enumerate(loads):
        Path(f"run{i}.json").write_text(json.dumps(bench(*load, detailed=i % 2 == 0)))
    return [f"run{i}.json" for i in range(len(loads))]


def test_overheads_come_back_from_simulated_results(capsys):
    assert cli.main([*FIT, *write(LOADS)]) == 0
    out = capsys.readouterr().out
    fitted = load_gpu("mine.toml").overheads()
    for name, value in TRUE.items():
        assert getattr(fitted, name) == pytest.approx(value, rel=0.1), name
    last = out.splitlines()[-1]
    assert "WARNING" not in out
    assert last.startswith("left out, mean of sizes: TTFT")
    assert float(last.split()[-2]) < 3
    assert float(last.split()[-5]) < 3
    assert ", left out " in load_gpu("mine.toml").validated
    assert all(file in fitted.source for file in ("run0.json", "run4.json"))


def test_too_few_operating_points_for_what_is_asked_are_refused(capsys):
    files = write(LOADS[:1])
    sentence = refusal(capsys, *FIT, *files, *EACH)
    assert (
        "under-determined: 1 operating point for 4 parameters; add 3 or more runs at other rates" in sentence
    )
    same = [*files, *files, *files, *files]  # the same load four times is one operating point
    assert "1 operating point for 4" in refusal(capsys, *FIT, *same, *EACH)
    assert cli.main([*FIT, *files, "--free", "step_ms"]) == 0
    out = capsys.readouterr().out
    assert "too few runs to leave any out" in out
    Path("slow.json").write_text(json.dumps(json.loads(Path(files[0]).read_text()) | {"mean_ttft_ms": 900.0}))
    assert cli.main([*FIT, "slow.json", "--free", "step_ms", "--overwrite"]) == 0
    assert "WARNING: the runs are not met" in capsys.readouterr().out


def test_runs_too_alike_are_refused(capsys):
    alike = [(1, 500, 60 + 8 * i, 8) for i in range(4)]
    sentence = refusal(capsys, *FIT, *write(alike), *EACH)
    assert "under-determined: the data cannot tell" in sentence
    assert "add runs" in sentence


def test_one_run_with_its_requests_tells_what_its_loads_tell(capsys):
    workload = {"arrivals": "poisson", "rate_rps": 12.0, "requests": 100, "lengths": "chat_azure2023"}
    gpu = load_gpu("h100-80gb-sxm")
    block = gpu.overheads().model_copy(update={"step_ms": 4.0, "frontend_s": 0.05})
    write_gpu(gpu.model_copy(update={"name": "slow", "engine_overheads": {"slow": block}}), Path("slow.toml"))
    served = run(Scenario(workload=workload, hardware={"gpu": "slow.toml"}))
    columns = served.requests().select(
        ["arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "last_token_s"]
    )
    rows = [
        ",".join(columns.column_names),
        *(",".join(map(str, row.values())) for row in columns.to_pylist()),
    ]
    Path("requests.csv").write_text("\n".join(rows) + "\n")
    assert cli.main([*FIT, "requests.csv"]) == 0
    out, fitted = capsys.readouterr().out, load_gpu("mine.toml").overheads()
    assert fitted.frontend_s == pytest.approx(0.05, rel=0.1)
    assert fitted.step_ms == pytest.approx(4.0, rel=0.1)
    assert fitted.kernel_factor == pytest.approx(block.kernel_factor, rel=0.05)
    assert "1 load test: TTFT" in load_gpu("mine.toml").validated
    assert float(out.splitlines()[-1].split()[-2]) < 2  # TPOT of the groups left out
    Path("few.csv").write_text("arrival_s,first_token_s,last_token_s,output_tokens\n0,1,2,5\n")
    assert "few.csv: does not say how long prompts are" in refusal(capsys, *FIT, "few.csv", "--overwrite")


def test_detailed_results_are_replayed_at_their_own_times():
    found = read_bench(EXAMPLE)
    assert found.detailed
    assert found.ttft_ms[0] == pytest.approx(49.4375)
    np.testing.assert_allclose(found.workload.arrival_s, [0.0, 0.298456, 1.016787, 1.028074], atol=1e-9)
    assert found.workload.prompt_tokens.tolist() == [871, 717, 52, 715]
    assert found.workload.concurrency is None


def change(**changes):
    result = {**json.loads(EXAMPLE.read_text()), **changes}
    Path("a.json").write_text(json.dumps({key: value for key, value in result.items() if value != "gone"}))


def test_results_without_details_keep_rate_and_totals():
    change(input_lens="gone", output_lens="gone", start_times="gone", completed=100, num_prompts=100,
           total_input_tokens=50_000, total_output_tokens=20_000)  # fmt: skip
    workload = read_bench(Path("a.json")).workload
    assert workload.prompt_tokens.tolist() == [500] * 100
    assert workload.output_tokens.tolist() == [200] * 100
    assert workload.arrival_s[-1] == pytest.approx(100 / 2.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean_ttft_ms": "gone"}, "a.json: key 'mean_ttft_ms' is missing"),
        ({"mean_tpot_ms": 0.0}, "a.json: key 'mean_tpot_ms': expected a number above 0, got 0.0"),
        ({"completed": 0}, "a.json: key 'completed'"),
        ({"failed": 3}, "3 requests failed"),
        ({"request_rate": "fast"}, "key 'request_rate': expected a rate, got 'fast'"),
        ({"max_concurrency": 8}, "has both request_rate 2 and max_concurrency 8"),
        ({"max_concurrency": "8"}, "key 'max_concurrency'"),
        ({"start_times": [1.0]}, "start_times: expected as many as input_lens"),
        ({"input_lens": [1, 2]}, "input_lens and output_lens: expected lists of one length"),
        ({"input_lens": ["a", "b", "c", "d"]}, "a.json: "),
        ({"input_lens": [200_000, 1, 1, 1]}, "a request has 200003 tokens; expected 131072 or fewer"),
        ({"output_lens": [1, 1, 1, 1]}, "no request has two output tokens"),
    ],
)
def test_bad_results_are_refused(capsys, changes, says):
    change(**changes)
    assert says in refusal(capsys, *FIT, "a.json", "--free", "step_ms")


def test_files_that_are_no_results_are_refused(capsys):
    Path("a.json").write_text("{\n1}")
    assert "a.json, line 2: not JSON" in refusal(capsys, *FIT, "a.json")
    Path("a.json").write_text("[]")
    assert "expected a result of vllm bench serve, got list" in refusal(capsys, *FIT, "a.json")
    change()
    assert "expected a CSV" in refusal(capsys, *FIT, "a.json", "--what", "efficiencies")
