"""What each scheduler is known for, as ratios, on the prices of real GPUs and the same engine for all."""

import pytest

from tests.engine_cases import SCHEDULING
from tests.served import CHAT, served

AMPLE = {"num_gpu_blocks": 100_000}
SHORT = {"num_gpu_blocks": 2200, "max_model_len": 16_000}


def chat(rate_rps, requests, **more):
    return {**CHAT, "rate_rps": rate_rps, "requests": requests, **more}


@pytest.mark.parametrize(("gpu", "capacity_rps"), [("h100-80gb-sxm", 40.0), ("a100-80gb-sxm", 10.5)])
def test_with_ample_kv_schedulers_deliver_different_tokens(gpu, capacity_rps):
    """Ten of fifteen at 1.2 times what the engine completes, however much is offered."""
    traffic = chat(1.2 * capacity_rps, 1000)
    times = {
        served(name, gpu=gpu, model="qwen-2.5-14b", engine=AMPLE, workload=traffic).token_times.tobytes()
        for name in SCHEDULING
    }
    assert len(times) >= 10
