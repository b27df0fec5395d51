"""The shipped hour of traffic, whole: every request ends, every token is in the table exactly once."""

import numpy as np

from simulator import Scenario, run
from simulator.metrics._window import Window

REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 19_366, 22_361_870, 4_088_665


def test_the_azure_hour_is_accounted_for_to_the_last_token():
    result = run(Scenario(cluster={"replicas": 2}, workload={"trace": "azure2023_conv"}))
    requests, tokens = result.requests(), result.tokens()
    assert requests.num_rows == REQUESTS
    assert set(requests["state"].to_pylist()) == {"completed"}
    prompt, output, delivered = (
        requests[name].to_numpy() for name in ("prompt_tokens", "output_tokens", "delivered_tokens")
    )
    assert prompt.sum() == PROMPT_TOKENS
    assert output.sum() == OUTPUT_TOKENS
    assert np.array_equal(delivered, output)

    # The table is what it must be, row by row: requests in order, in each the tokens 1, 2, ..., n.
    begins = np.cumsum(output) - output
    assert np.array_equal(tokens["request_id"].to_numpy(), np.repeat(np.arange(REQUESTS), output))
    assert np.array_equal(
        tokens["token_index"].to_numpy(), np.arange(OUTPUT_TOKENS) - np.repeat(begins, output) + 1
    )
    assert tokens.num_rows == OUTPUT_TOKENS
    assert np.all(np.isfinite(tokens["delivered_s"].to_numpy()))

    summary = result.summary(window=Window("whole"))
    assert summary["states"]["completed"]["count"] == REQUESTS
    assert summary["throughput"]["output_tokens"] == OUTPUT_TOKENS
    assert summary["throughput"]["prompt_tokens_processed"] == PROMPT_TOKENS
