"""Very long, very many, very close: tokens stay in order, and times are as exact as doubles are."""

import numpy as np
import pytest

from simulator import Scenario, run

ANSWERS = [(0.0, 100, 200), (0.4, 3000, 50), (1.0, 20, 300), (1.0, 20, 300)]


def traced(folder, rows, **more):
    """Simulate rows of arrival, prompt and output tokens."""
    lines = [f"{arrival!r},{prompt},{output}" for arrival, prompt, output in rows]
    (folder / "t.csv").write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]) + "\n")
    return run(Scenario(workload={"trace": "t.csv"}, **more), base_dir=folder)


def delivered(result):
    """When each request had its tokens."""
    table = result.tokens()
    request, at_s = table["request_id"].to_numpy(), table["delivered_s"].to_numpy()
    return [at_s[request == each] for each in range(result.requests().num_rows)]


@pytest.mark.parametrize("shift_s", [1e3, 1e6, 1e9])
def test_much_later_all_takes_as_long(tmp_path, shift_s):
    """A step's end is rounded to a double; the errors of n steps add up to n spacings of doubles at most."""
    near = traced(tmp_path, ANSWERS)
    far = traced(tmp_path, [(0.0, 1, 1), *((shift_s + at_s, *rest) for at_s, *rest in ANSWERS)])
    steps = near.steps().num_rows
    for mine, other in zip(delivered(near), delivered(far)[1:], strict=True):
        assert (np.diff(other) > 0).all()
        assert np.abs(other - shift_s - mine).max() <= (steps + 1) * np.spacing(2 * shift_s)


@pytest.mark.parametrize("gap_s", [1e-6, 1e-9, 0.0])
def test_however_close_they_come_they_begin_in_order(tmp_path, gap_s):
    result = traced(tmp_path, [(number * gap_s, 10, 3) for number in range(300)])
    first_s = [mine[0] for mine in delivered(result)]
    assert first_s == sorted(first_s)
    assert all(len(mine) == 3 and (np.diff(mine) > 0).all() for mine in delivered(result))


def test_a_prompt_of_a_million_tokens_is_computed(tmp_path):
    model = tmp_path / "config.json"
    model.write_text(LONG)
    result = traced(tmp_path, [(0.0, 1_000_000, 5)], hardware={"gpu": "b200-sxm", "model": "config.json"})
    assert result.requests()["state"].to_pylist() == ["completed"]
    (mine,) = delivered(result)
    assert 60 < mine[0] < 600
    assert len(mine) == 5


LONG = """{"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
"num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 1100000,
"torch_dtype": "bfloat16", "architectures": ["LlamaForCausalLM"]}"""
