"""How keys of a scenario are called on the axes of pictures: in words, with their unit."""

_NAMES = {
    "workload.rate_rps": "arrival rate (requests/s)",
    "workload.rate_scale": "load (times the recorded rate)",
    "workload.limit": "requests",
    "cluster.replicas": "replicas",
    "cluster.prefill.replicas": "prefill replicas",
    "cluster.decode.replicas": "decode replicas",
    "hardware.gpu": "GPU",
    "hardware.model": "model",
    "engine.profile": "engine",
    "engine.max_num_seqs": "batch limit (max_num_seqs)",
    "engine.max_num_batched_tokens": "token budget of a step (max_num_batched_tokens)",
    "engine.block_size": "KV block (tokens)",
    "engine.num_gpu_blocks": "KV blocks of a replica",
    "engine.gpu_memory_utilization": "share of GPU memory used",
    "engine.tensor_parallel_size": "tensor parallel (GPUs a replica)",
    "engine.pipeline_parallel_size": "pipeline stages",
    "policy.scheduling": "scheduler",
    "policy.routing": "router",
    "user.v_s_per_token": "reader's time per token (s)",
    "user.alpha": "alpha (tokens per s of idling)",
    "user.first_token_allowance_s": "allowance for the first token (s)",
    "seed": "seed",
}
_UNITS = {
    "_s_per_token": "s/token",
    "_gb_s": "GB/s",
    "_rps": "requests/s",
    "_tokens": "tokens",
    "_blocks": "blocks",
    "_bytes": "bytes",
    "_ms": "ms",
    "_s": "s",
}
_SECTIONS = (
    "cluster.",
    "policy.",
)  # what they have says more than their name; others have names of few letters


def key_name(key: str) -> str:
    """Return what a key is called: ``arrival rate (requests/s)`` for ``workload.rate_rps``.

    One without a name of its own has the words of its last part, with the unit that it ends on.
    """
    if key in _NAMES:
        return _NAMES[key]
    words = key.rpartition(".")[2]
    if key.startswith(_SECTIONS) and key.count(".") > 1:
        words = key.partition(".")[2].replace(".", " ")
    for ending, unit in _UNITS.items():
        if words.endswith(ending):
            return f"{words.removesuffix(ending).replace('_', ' ')} ({unit})"
    return words.replace("_", " ")
