"""SGLang's own benchmark of dense models on GPUs with operator tables, from its cookbook.

The tool draws lengths evenly from 1 to the longest, prompts first, seed 1, in the order of sending; a closed loop with
as many requests in flight as it says. Of the cookbook's 82 rows these are the ones with a shipped table: the others
are mixtures of experts, latent or hybrid models, pictures, MI300X, or name no GPU.
"""

from collections.abc import Iterator

import numpy as np

from experiments.validation.rows import Deployment, table
from experiments.validation.scores import Score, scores_of
from experiments.validation.servers import server_of
from simulator.arrays import Ints
from simulator.studies.calibration.served import serve
from simulator.workload.workload import Workload

SET = "sglang-blocks"
_GPUS = {"A100": "a100-80gb-sxm"}
_MODELS = {"Meta-Llama/Llama-3.1-70B": "llama-3.1-70b"}


def sglang_blocks(quick: bool) -> Iterator[Score]:
    """Mean TTFT, TPOT and E2E, and output throughput."""
    for row in table("sglang_cookbook_dense.csv"):
        deployment = Deployment(
            _GPUS[row["gpu"]], _MODELS[row["model"]], "sglang", row["engine_version"], "bf16", int(row["tp"])
        )
        clients, n = int(row["max_concurrency"]), int(row["requests"])
        measured = {
            "TPOT ms": float(row["tpot_mean_ms"]),
            "TTFT ms": float(row["ttft_mean_ms"]),
            "E2E ms": float(row["e2e_mean_ms"]),
            "throughput tok/s": float(row["output_tok_s"]),
        }

        def predict(
            row: dict[str, str] = row, deployment: Deployment = deployment, clients: int = clients, n: int = n
        ) -> dict[str, float]:
            prompt, output = lengths(row)
            workload = Workload(
                SET, np.zeros(n), prompt, output, int(output.max()), "measured run", concurrency=clients
            )
            served = serve(workload, server_of(deployment))
            return {
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
                "E2E ms": 1e3 * float(served.e2e_s.mean()),
                "throughput tok/s": float(output.sum()) / served.duration_s,
            }

        load = "light" if clients <= 16 else "medium" if clients <= 64 else "heavy"
        label = f"tp{row['tp']} c{clients} {row['isl_max']}/{row['osl_max']}"
        yield from scores_of(SET, label, deployment, load, measured, predict)


def lengths(row: dict[str, str]) -> tuple[Ints, Ints]:
    """Return the prompt and output tokens of a row's requests, as the tool draws them."""
    n = int(row["requests"])
    draw = np.random.RandomState(1)  # NumPy's old generator, which the tool uses
    prompt, output = (
        draw.randint(1, int(row[longest]) + 1, n).astype(np.int64) for longest in ("isl_max", "osl_max")
    )
    return prompt, output
