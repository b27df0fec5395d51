"""SGLang's own benchmark of dense models on GPUs with operator tables, from its cookbook.

The tool draws lengths evenly from 1 to the longest, prompts first, seed 1, in the order of sending; a closed loop with
as many requests in flight as it says. Of the cookbook's 82 rows these are the ones with a shipped table: the others
are mixtures of experts, latent or hybrid models, pictures, MI300X, or name no GPU.

A page's runs follow one another on one server, whose radix cache is on, and the i-th prompt is the i-th conversation
of one shuffle, cut or repeated to its length (``sglang/benchmark/datasets/random.py``). So a run finds what the runs
before it on the page left: computed afresh, a hundred prompts at once would need 2.8 s even at the GPUs' data sheet,
and 99 of 100 first tokens came within 1.25 s.
"""

import dataclasses
from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np

from experiments.validation.rows import Deployment, table
from experiments.validation.scores import Score, scores_of
from experiments.validation.servers import server_of
from policies.scheduling.sglang import Sglang
from simulator.arrays import Ints
from simulator.studies.calibration.served import Served, Server, serve
from simulator.workload.workload import Workload

SET = "sglang-blocks"
_GPUS = {"A100": "a100-80gb-sxm"}
_MODELS = {"Meta-Llama/Llama-3.1-70B": "llama-3.1-70b"}
# A page's runs in order: the longest prompt and answer, and how many requests. Not all are among the rows.
PAGE = [
    *((1000, 1000, requests) for requests in (10, 80, 500)),
    *((1000, 8000, requests) for requests in (10, 80, 320)),
    *((8000, 1000, requests) for requests in (10, 80, 320, 500)),
]


def sglang_blocks(quick: bool) -> Iterator[Score]:
    """Mean TTFT, TPOT and E2E, and output throughput."""
    for row in table("sglang_cookbook_dense.csv"):
        deployment = Deployment(
            _GPUS[row["gpu"]], _MODELS[row["model"]], "sglang", row["engine_version"], "bf16", int(row["tp"])
        )
        clients = int(row["max_concurrency"])
        measured = {
            "TPOT ms": float(row["tpot_mean_ms"]),
            "TTFT ms": float(row["ttft_mean_ms"]),
            "E2E ms": float(row["e2e_mean_ms"]),
            "throughput tok/s": float(row["output_tok_s"]),
        }

        def predict(row: dict[str, str] = row, deployment: Deployment = deployment) -> dict[str, float]:
            served = after_the_page(row, dataclasses.replace(server_of(deployment), scheduler=Sglang))
            return {
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
                "E2E ms": 1e3 * float(served.e2e_s.mean()),
                "throughput tok/s": float(served.output_tokens.sum()) / served.duration_s,
            }

        load = "light" if clients <= 16 else "medium" if clients <= 64 else "heavy"
        label = f"tp{row['tp']} c{clients} {row['isl_max']}/{row['osl_max']}"
        yield from scores_of(SET, label, deployment, load, measured, predict)


def after_the_page(row: dict[str, str], server: Server) -> Served:
    """Serve a row's requests after the prompts of the runs before it, with one token each; return its own only.

    The server's cache has to be on.

    Every client then sends one prompt more that is cached, so that the run begins with all clients at once.
    """
    prompt, output = lengths(row)
    clients = int(row["max_concurrency"])
    held = {0: int(prompt[0])}  # the tool's warm-up request is the first one
    this = int(row["isl_max"]), int(row["osl_max"]), int(row["requests"])
    for longest, _, requests in PAGE[: PAGE.index(this)]:
        for i, tokens in enumerate(drawn(longest, 1, requests)[0].tolist()):
            held[i] = max(held.get(i, 0), tokens)
    before = [*held.items(), *islice(cycle(held.items()), clients)]
    content = [*before, *enumerate(prompt.tolist())]
    n, first = len(content), len(before)
    workload = Workload(
        SET,
        np.zeros(n),
        [tokens for _, tokens in content],
        np.concatenate([np.ones(first, np.int64), output]),
        int(output.max()),
        "measured run",
        concurrency=clients,
        segments=[(each,) for each in content],
        output_stream=n + np.arange(n),
    )
    served = serve(workload, server)
    return Served(
        served.arrival_s[first:],
        served.first_token_s[first:],
        served.last_token_s[first:],
        served.output_tokens[first:],
        served.steps,
    )


def lengths(row: dict[str, str]) -> tuple[Ints, Ints]:
    """Return the prompt and output tokens of a row's requests, as the tool draws them."""
    return drawn(int(row["isl_max"]), int(row["osl_max"]), int(row["requests"]))


def drawn(longest_prompt: int, longest_output: int, n: int) -> tuple[Ints, Ints]:
    """Return the prompt and output tokens of n requests, even from 1 to the longest."""
    draw = np.random.RandomState(1)  # NumPy's old generator, which the tool uses
    prompt, output = (
        draw.randint(1, longest + 1, n).astype(np.int64) for longest in (longest_prompt, longest_output)
    )
    return prompt, output
