"""Parameters of the policies around scheduling that are refused."""

import math

import pytest

from simulator.errors import InputError
from simulator.scenario.discover import complete


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        (
            "routing",
            "prefix_affinity",
            {"imbalance_ratio": 0.0},
            "imbalance_ratio: expected a finite number > 0",
        ),
        ("routing", "random", {"seed": 1}, "random has no parameters"),
        ("admission", "queue_cap", {"max_waiting": 0}, "max_waiting: expected a finite number > 0"),
        ("admission", "token_bucket", {"count": "words"}, "count: expected 'prompt' or 'total'"),
        ("admission", "early_reject", {"ttft_s": math.nan}, "ttft_s: expected a finite number > 0"),
        ("abandonment", "missed_slo", {"e2e_s": -1.0}, "e2e_s: expected a finite number >= 0"),
        ("delivery", "paced", {"gap_s": 0.0}, "gap_s: expected a finite number > 0"),
        (
            "delivery",
            "jitter",
            {"distribution": "normal"},
            "distribution: expected 'exponential' or 'lognormal'",
        ),
        ("delivery", "batched", {"tokens": 2.5}, "tokens: expected a valid integer"),
        ("migration", "llumnix", {"send_below": 30.0}, "send_below has to be no more than receive_above"),
        ("migration", "llumnix", {"resting": 1}, "no such parameter"),
        ("migration", "tbt_chasing", {"tbt_s": 0.0}, "tbt_s: expected a finite number > 0"),
        ("migration", "token_slack", {"short_share": 1.0}, "short_share is a share"),
        ("roles", "by_load", {"decode_kv_share": 1.5}, "decode_kv_share is a share"),
    ],
)
def test_parameters_are_refused(kind, name, options, message):
    with pytest.raises(InputError, match=rf"policy\.{kind}.*{message}"):
        complete(kind, name, options)
