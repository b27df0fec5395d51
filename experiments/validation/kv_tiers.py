"""LMCache beside vLLM alone (Qwen3-8B, RTX 4090): time to first token with a host tier, over that without.

The page gives the settings of its conversations for prompts of 5,000 tokens. What of the longer ones follows from its
own figures: two clients (requests a second x time a request), and 18,300 tokens a prompt, as first messages of 20,000
on average give where 20,000 is the most, as in the settings shown. Turns and lengths are those of vLLM's
``benchmark_serving_multi_turn.py``: a turn is a message of either side, and a client goes round its conversations. How
many prompts made the hits in the GPU is not said; five hundred at once fit what they took. The KV cache is the one that
the memory sum gives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.validation.rows import Deployment, table
from experiments.validation.scores import Role, Score, scores_of
from experiments.validation.servers import server_of
from hardware_profiles.gpu import GIB
from simulator.errors import InputError
from simulator.replica.kv_tier import TierPlan, TiersPlan
from simulator.studies.calibration.served import serve
from simulator.workload.workload import Workload

SET = "kv-tiers"
SERVED = Deployment(
    "rtx-4090", "qwen3-8b", "vllm", "0.11.0"
)  # the page's 0.10.1.1 plans step by step as well
HOST_GIB = 50.0
BYTES_PER_TOKEN = 147_456
READ_BYTES_PER_S = 25e9  # of the GPU's profile
# Fitted to the misses of 1,024 and 8,192 tokens, whose throughput lost says 24 and 4.5 GB/s: their geometric mean.
WRITE_BYTES_PER_S = 10.4e9
CONVERSATIONS, ACTIVE, COMMON_TOKENS, MOST_FIRST_TOKENS = 24, 10, 500, 20_000
MEDIAN_OF_MEAN = 0.85  # of a first message's length, which is lognormal
Turn = tuple[list[tuple[int, int]], int, int]  # prompt, output tokens and the stream of the output
BURST, HITS = 100, 500  # requests


@dataclass(frozen=True)
class TierRow:
    """Mean times to first token without and with LMCache."""

    row: str
    kind: str  # turns, misses, hits or remote
    prompt_tokens: int
    output_tokens: int
    clients: int
    without_ms: float
    with_ms: float
    chunk_size: int

    @property
    def role(self) -> Role:
        """Whether the rate of writing was taken from this row."""
        fitted: Role = "fitted" if self.row in ("misses-1k", "misses-8k") else "scored"
        return "shown" if self.kind == "remote" else fitted


def tier_rows() -> list[TierRow]:
    """Return the rows in file order."""
    return [
        TierRow(
            each["row"], each["kind"], int(each["prompt_tokens"]), int(each["output_tokens"]),
            int(each["clients"] or 0), float(each["without_ttft_ms"]), float(each["with_ttft_ms"]),
            int(each["chunk_size"]),
        )
        for each in table("lmcache_rtx4090_qwen3-8b.csv")
    ]  # fmt: skip


def kv_tiers(quick: bool) -> Iterator[Score]:
    """The ratio of mean times to first token, with the host tier over without it; and both, shown."""
    for row in tier_rows():

        def predict(row: TierRow = row) -> dict[str, float]:
            without_ms, with_ms = (_ttft_ms(row, tiers) for tiers in (False, True))
            return {
                "TTFT ratio": with_ms / without_ms,
                "TTFT without ms": without_ms,
                "TTFT with ms": with_ms,
            }

        measured = {
            "TTFT ratio": row.with_ms / row.without_ms,
            "TTFT without ms": row.without_ms,
            "TTFT with ms": row.with_ms,
        }
        for score in scores_of(SET, row.row, SERVED, "medium", measured, predict, row.role):
            shown = score.role == "scored" and score.metric != "TTFT ratio"
            yield Score(**vars(score) | {"role": "shown"}) if shown else score


def _ttft_ms(row: TierRow, tiers: bool) -> float:
    if row.kind == "remote":
        raise InputError(
            "no network is described, and a prompt of 20,000 tokens takes 5 s everywhere else on the page"
        )
    chunks = int(HOST_GIB * GIB / (row.chunk_size * BYTES_PER_TOKEN))
    plan = TiersPlan(
        [TierPlan("host", chunks, READ_BYTES_PER_S, WRITE_BYTES_PER_S)],
        row.chunk_size,
        BYTES_PER_TOKEN,
        writes_in_step=True,
    )
    server = server_of(SERVED)
    served = serve(_turns(row) if row.kind == "turns" else _burst(row), server, tiers=plan if tiers else None)
    return 1e3 * float(served.ttft_s.mean())


def _burst(row: TierRow) -> Workload:
    """All at once: no two prompts alike, or all the same after a first one that has been served."""
    hits = row.kind == "hits"
    n = HITS if hits else BURST
    arrival_s = np.concatenate([[0.0], np.full(n, 60.0)]) if hits else np.zeros(n)
    n = len(arrival_s)
    return Workload(
        row.row, arrival_s, np.full(n, row.prompt_tokens), np.full(n, row.output_tokens), row.output_tokens, "the page",
        segments=[((0 if hits else i, row.prompt_tokens),) for i in range(n)], output_stream=np.arange(n) + n,
    )  # fmt: skip


def _turns(row: TierRow) -> Workload:
    """Conversations of 12 to 18 messages, of which each client has some in turn and sends without a pause."""
    draw = np.random.default_rng(0)
    mean = row.prompt_tokens - 1000 if row.prompt_tokens < MOST_FIRST_TOKENS else MOST_FIRST_TOKENS
    sigma = float(np.sqrt(-2 * np.log(MEDIAN_OF_MEAN)))
    turns: list[list[Turn]] = []  # of each conversation
    number = 0
    for conversation in range(CONVERSATIONS):
        first = min(int(draw.lognormal(np.log(MEDIAN_OF_MEAN * mean), sigma)), MOST_FIRST_TOKENS)
        text = [(0, COMMON_TOKENS), (-1 - conversation, first)]
        turns.append([])
        for _ in range(int(draw.integers(12, 19)) // 2):
            number += 1
            text = [*text, (2 * number, int(draw.integers(120, 161)))]
            output = int(draw.integers(80, 121)) if row.output_tokens > 1 else 1
            turns[-1].append((text, output, 2 * number + 1))
            text = [*text, (2 * number + 1, output)]
    sent = [
        (client, *turn)
        for client in range(row.clients)
        for turn in _rounds(turns[client :: row.clients], row)
    ]
    n = len(sent)
    return Workload(
        row.row, np.zeros(n), [sum(tokens for _, tokens in each[1]) for each in sent], [each[2] for each in sent], 120,
        "the page", segments=[each[1] for each in sent], output_stream=[each[3] for each in sent],
        session=np.array([each[0] for each in sent]), think_s=np.zeros(n),
    )  # fmt: skip


def _rounds(conversations: list[list[Turn]], row: TierRow) -> Iterator[Turn]:
    """The turns of a client's conversations, of which so many are active: one of each in turn."""
    waiting = [iter(each) for each in conversations]
    most = max(1, ACTIVE // row.clients)
    active, waiting = waiting[:most], waiting[most:]
    while active:
        conversation = active.pop(0)
        turn = next(conversation, None)
        if turn is not None:
            yield turn
            active.append(conversation)
        elif waiting:
            active.append(waiting.pop(0))
