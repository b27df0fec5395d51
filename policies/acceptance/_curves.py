"""Measured acceptance lengths: tokens that a step of the target model gives, its own among them, by number of drafts.

Facts from public benchmarks: "vLLM issue 20780" is github.com/vllm-project/vllm/issues/20780 (H100, one request at a
time); "SpecDecode-Bench" are means over the acceptance traces of its simulator (arXiv 2601.11580); "InferenceX" is its
table of golden acceptance lengths (Apache-2.0; SPEED-Bench coding, B300, vLLM).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class MeasuredCurve:
    """Tokens a step, its own included, by number of drafts."""

    tokens: dict[int, float]
    source: str


def _from(first: int, *tokens: float, source: str) -> MeasuredCurve:
    return MeasuredCurve(dict(enumerate(tokens, first)), source)


_BENCH, _X = "SpecDecode-Bench", "InferenceX golden acceptance lengths"

CURVES: dict[str, MeasuredCurve] = {
    "llama-3.1-8b-eagle-mtbench": _from(2, 2.10, 2.29, 2.39, 2.43, 2.45, 2.47, source="vLLM issue 20780"),
    "llama-3.1-8b-eagle3-mtbench": _from(2, 2.36, 2.79, 3.08, 3.32, 3.46, 3.54, source="vLLM issue 20780"),
    "llama-3.1-8b-eagle-sharegpt": _from(1, 1.66, 2.04, 2.25, 2.39, 2.48, 2.54, 2.58, 2.61, source=_BENCH),
    "llama-3.1-8b-eagle-cnndm": _from(1, 1.67, 2.08, 2.33, 2.48, 2.58, 2.65, 2.69, 2.72, source=_BENCH),
    "llama-3.1-8b-eagle-gsm8k": _from(1, 1.70, 2.13, 2.39, 2.56, 2.67, 2.73, 2.77, 2.78, source=_BENCH),
    "llama-3.1-8b-eagle-instructcoder": _from(
        1, 1.68, 2.09, 2.35, 2.52, 2.63, 2.70, 2.76, 2.80, source=_BENCH
    ),
    "llama-3.1-8b-ngram-sharegpt": MeasuredCurve(
        {1: 1.24, 2: 1.34, 3: 1.40, 4: 1.43, 5: 1.45, 8: 1.50}, _BENCH
    ),
    "llama-3.1-8b-ngram-cnndm": MeasuredCurve({1: 1.20, 2: 1.29, 3: 1.33, 4: 1.36, 5: 1.38, 8: 1.41}, _BENCH),
    "llama-3.1-8b-ngram-gsm8k": MeasuredCurve({1: 1.11, 2: 1.15, 3: 1.16, 4: 1.17, 5: 1.18, 8: 1.19}, _BENCH),
    "llama-3.1-8b-ngram-instructcoder": _from(
        1, 1.51, 1.82, 2.03, 2.19, 2.29, 2.37, 2.45, 2.50, source=_BENCH
    ),
    "deepseek-v4-pro-mtp-thinking": _from(1, 1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58, source=_X),
    "deepseek-v4-pro-mtp": _from(1, 1.92, 2.61, 2.97, 3.00, 3.10, 3.16, 3.00, 3.11, source=_X),
    "glm-5.2-mtp": _from(1, 1.84, 2.50, 2.99, 3.33, 3.61, 3.78, 3.91, 4.06, source=_X),
    "qwen3.5-397b-mtp": _from(1, 1.93, 2.73, 3.39, 3.97, 4.41, 4.80, 5.04, 5.21, source=_X),
    "kimi-k2.5-eagle3": _from(1, 1.83, 2.43, 2.88, 3.24, 3.46, 3.62, 3.71, 3.77, source=_X),
    "minimax-m3-eagle3": _from(1, 1.78, 2.38, 2.83, 3.11, 3.35, 3.45, 3.53, 3.74, source=_X),
}
