"""An engine's own log as step timings: SGLang's tells decode steps, what others leave out is said."""

import pytest

from hardware_profiles import load_gpu, load_model, step_cost
from hardware_profiles.engine_log import read_log
from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.replica.cost import StepShape

EVERY = 40  # SGLang's --decode-log-interval
TRUE = {"kernel_factor": 1.15, "step_ms": 1.5, "per_sequence_ms": 0.03}
VLLM = "Iteration(1): 0 context requests, 0 context tokens, 4 generation requests, 4 generation tokens, "


def decode(seqs, tokens, per_s, rest="cuda graph: True, "):
    said = f"Decode batch, #running-req: {seqs}, #token: {tokens}, token usage: 0.10, {rest}"
    return f"[2026-11-29 17:00:01 TP0] {said}gen throughput (token/s): {per_s:.2f}, #queue-req: 0, \n"


def prefill(seqs):
    said = f"Prefill batch, #new-seq: {seqs}, #new-token: 512, #cached-token: 0, token usage: 0.00"
    return f"[2026-11-29 17:00:01 TP0] {said}, input throughput (token/s): 9.00\n"


def served(cost):
    """The log of batches that decode on, as SGLang writes it."""
    for seqs in (1, 2, 4, 8, 16, 32, 64, 128):
        for context in (300, 2000):
            yield prefill(seqs) + decode(seqs, seqs * context, 77.0)
            for line in range(1, 4):
                contexts = range(context + EVERY * (line - 1) + 1, context + EVERY * line + 1)
                lasted_s = sum(
                    cost.step_s(StepShape(decode_seqs=seqs, decode_context_tokens=seqs * n)) for n in contexts
                )
                yield decode(seqs, seqs * contexts[-1], EVERY * seqs / lasted_s)


def test_overheads_come_back_from_sglangs_log(tmp_path, capsys):
    gpu, log, mine = load_gpu("h100-80gb-sxm"), tmp_path / "server.log", tmp_path / "mine.toml"
    engine = gpu.overheads().model_copy(update=TRUE)
    log.write_text("".join(served(step_cost(gpu, load_model("llama-3.1-8b"), overheads=engine))))
    steps = read_log(log)
    assert len(steps) == 48
    assert len({step.run for step in steps}) == 16
    assert cli.main(["profile", "fit", str(log), "--out", str(mine)]) == 0
    fitted = load_gpu(str(mine)).overheads("fitted")
    assert {name: getattr(fitted, name) for name in TRUE} == pytest.approx(TRUE, rel=0.02)
    assert fitted.prefill_step_ms == gpu.overheads().prefill_step_ms  # no step with a prompt is in it
    assert "prefill_step_ms" in capsys.readouterr().out


@pytest.mark.parametrize(
    "between", [prefill(1), decode(5, 900, 10.0), "[2026-11-29 17:00:01 TP0] Prefill batch [7]\n"]
)
def test_steps_are_told_by_lines_of_as_many_requests_with_no_prompt_between(tmp_path, between):
    log = tmp_path / "server.log"
    pair = decode(4, 400, 50.0), decode(4, 560, 100.0)
    other_rank = prefill(1).replace("TP0", "DP1 TP0")
    log.write_text(pair[0] + other_rank + "INFO anything\n" + pair[1] + between + decode(4, 800, 200.0))
    (step,) = read_log(log)
    assert (step.shape.decode_seqs, step.shape.decode_context_tokens, step.step_ms) == (4, 480, 40.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line on a decode batch; expected a log of SGLang"),
        (f"{VLLM}iteration elapsed time: 9.00 ms\n", "vLLM's iteration details do not say how long contexts are"),
        ("[TRT-LLM] iter = 1, prev_device_step_time = 9ms\n", "TensorRT-LLM's iteration log does not say"),
        ("Engine 000: Avg generation throughput: 9 tokens/s\n", "vLLM's periodic lines are means over seconds"),
        (decode(4, 400, 50.0) + decode(5, 500, 50.0), "2 lines on decode batches, but no two in a row"),
        (decode(4, 400, 50.0, "accept len: 2.5, "), "line 1: with speculation a step makes several tokens"),
        (decode(4, 400, 50.0).replace("#token", "#full token"), "line 1: expected '#running-req: N, #token: N,"),
    ],
)  # fmt: skip
def test_a_log_that_tells_no_step_is_refused_with_why(tmp_path, text, said):
    log = tmp_path / "server.log"
    log.write_text(text)
    with pytest.raises(InputError) as refused:
        read_log(log)
    assert said in str(refused.value)
