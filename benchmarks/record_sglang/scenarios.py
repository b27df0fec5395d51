"""What is recorded: requests and settings, by name. All is drawn from seeds, so that it can be made again."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

BASE: dict[str, Any] = {
    "page_size": 1,
    "max_total_tokens": 100_000,
    "max_running_requests": 64,
    "context_length": 8192,
    "max_prefill_tokens": 16384,
    "chunked_prefill_size": 512,
    "schedule_policy": "fcfs",
    "schedule_conservativeness": 1.0,
    "disable_overlap_schedule": True,
    "disable_radix_cache": False,
    "enable_mixed_chunk": False,
    "enable_priority_scheduling": False,
    "schedule_low_priority_values_first": True,
    "priority_scheduling_preemption_threshold": 10,
    "ignore_eos": True,
}
MS = 1_000_000
Traffic = dict[str, list[Any]]


def traffic(
    random: Random,
    n: int,
    every_ms: float,
    prompt: tuple[int, int],
    output: tuple[int, int],
    stops: bool = False,
    burst: int = 1,
) -> Traffic:
    """``n`` requests, Poisson, in bursts, with lengths between bounds; with ``stops`` most end before their limit."""
    columns: Traffic = {
        name: [] for name in ("arrival_ns", "prompt", "max_output", "output", "segs", "out_stream")
    }
    now = 0.0
    for i in range(n):
        if i % burst == 0:
            now += random.expovariate(1 / (every_ms * burst))
        tokens = random.randint(*output)
        limit = random.choice((tokens, 2 * tokens, 4 * tokens)) if stops else tokens
        columns["arrival_ns"].append(round(now * MS))
        columns["prompt"].append(random.randint(*prompt))
        columns["output"].append(tokens)
        columns["max_output"].append(limit)
        columns["segs"].append([[i + 1, columns["prompt"][-1]]])
        columns["out_stream"].append(100_000 + i)
    return columns


def shared(
    random: Random, requests: Traffic, groups: int, beginning: tuple[int, int], nested: bool = False
) -> Traffic:
    """Let prompts of a group begin alike, and if ``nested`` those of all groups too."""
    lengths = [random.randint(*beginning) for _ in range(groups)]
    for i, own in enumerate(requests["prompt"]):
        group = random.randrange(groups)
        segs = [[900_000 + group, lengths[group]], [i + 1, own]]
        if nested:
            segs = [[800_000, 60], *segs]
        requests["segs"][i] = segs
        requests["prompt"][i] = sum(tokens for _, tokens in segs)
    return requests


def turns(random: Random, sessions: int, most: int, every_ms: float, gap_ms: float) -> Traffic:
    """Conversations: a turn's prompt is all that was said before, the answers too, and something new."""
    rows = []
    start = 0.0
    for session in range(sessions):
        start += random.expovariate(1 / every_ms)
        now, said, stream = start, 0, 500_000 + session
        for _ in range(random.randint(1, most)):
            said += random.randint(20, 250)
            output = random.randint(8, 120)
            rows.append((round(now * MS), said, output, stream))
            said += output
            now += random.expovariate(1 / gap_ms) + 5 * output
    rows.sort()
    return {
        "arrival_ns": [row[0] for row in rows],
        "prompt": [row[1] for row in rows],
        "max_output": [row[2] for row in rows],
        "output": [row[2] for row in rows],
        "segs": [[[row[3], row[1]]] for row in rows],
        "out_stream": [row[3] for row in rows],
    }


def with_aborts(random: Random, requests: Traffic, share: float, within_ms: float) -> Traffic:
    """Let a share of the clients go, each some time after it has come."""
    requests["abort_ns"] = [
        at + round(random.uniform(0, within_ms) * MS) if random.random() < share else None
        for at in requests["arrival_ns"]
    ]
    return requests


def with_priorities(random: Random, requests: Traffic, levels: tuple[int, ...]) -> Traffic:
    """Give each request a priority; the lower, the more urgent."""
    requests["priority"] = [random.choice(levels) for _ in requests["prompt"]]
    return requests


CHAT: dict[str, Any] = {"prompt": (16, 600), "output": (4, 200)}
SHORT_KV = {"max_total_tokens": 6000}
Maker = Callable[[Random], Traffic]


def _chat(n: int, every_ms: float, **other: Any) -> Maker:
    return lambda random: traffic(random, n, every_ms, **(CHAT | other))


def _groups(n: int, every_ms: float, groups: int, nested: bool = False, **other: Any) -> Maker:
    return lambda random: shared(random, _chat(n, every_ms, **other)(random), groups, (40, 400), nested)


def _ranked(make: Maker, levels: tuple[int, ...] = (0, 15, 30)) -> Maker:
    return lambda random: with_priorities(random, make(random), levels)


def _leaving(make: Maker, share: float = 0.3, within_ms: float = 900) -> Maker:
    return lambda random: with_aborts(random, make(random), share, within_ms)


def _turns(sessions: int, most: int, every_ms: float, gap_ms: float) -> Maker:
    return lambda random: turns(random, sessions, most, every_ms, gap_ms)


NO_RADIX = {"disable_radix_cache": True}
STOPS = {"ignore_eos": False}
GROWING: dict[str, Any] = {"prompt": (10, 60), "output": (100, 500)}
EAGER = {**STOPS, **SHORT_KV, "schedule_conservativeness": 0.3}  # it expects little to come, and retracts
SCENARIOS: dict[str, tuple[Maker, dict[str, Any]]] = {
    "light": (_chat(30, 400), {}),
    "heavy": (_chat(150, 30), {"max_running_requests": 16}),
    "overload": (_chat(200, 5), {"max_running_requests": 24}),
    "stops": (_chat(120, 30, stops=True), {**STOPS, "max_total_tokens": 12_000}),
    "bursts": (_chat(150, 30, burst=25), {}),
    "kv_short": (_chat(120, 20, stops=True), {**STOPS, **SHORT_KV}),
    "kv_growing": (_chat(60, 10, **GROWING), {**EAGER}),
    "kv_growing_no_radix": (_chat(60, 10, **GROWING), {**EAGER, **NO_RADIX}),
    "kv_growing_pages": (_chat(60, 10, **GROWING), {**EAGER, "page_size": 16}),
    "kv_growing_limits": (_chat(60, 10, **GROWING, stops=True), {**EAGER, "schedule_conservativeness": 0.1}),
    "kv_cautious": (_chat(80, 10, **GROWING, stops=True), {**STOPS, **SHORT_KV, "schedule_conservativeness": 1.3}),
    "kv_tiny": (_chat(80, 10, prompt=(5, 80), output=(5, 60)), {**EAGER, "max_total_tokens": 700}),
    "chunks": (_chat(60, 60, prompt=(200, 3000)), {}),
    "chunks_small": (_chat(80, 30), {"chunked_prefill_size": 64}),
    "chunks_kv": (_chat(60, 40, prompt=(200, 3000), stops=True), {**EAGER}),
    "chunks_kv_no_radix": (_chat(60, 40, prompt=(200, 3000), stops=True), {**EAGER, **NO_RADIX}),
    "chunks_pages": (_chat(60, 40, prompt=(200, 3000)), {"page_size": 32, "chunked_prefill_size": 500}),
    "whole_prompts": (_chat(80, 40, prompt=(20, 2000)), {"chunked_prefill_size": -1, "max_prefill_tokens": 2048}),
    "mixed": (_chat(100, 30), {"enable_mixed_chunk": True}),
    "mixed_long": (_chat(60, 60, prompt=(200, 2000)), {"enable_mixed_chunk": True, "chunked_prefill_size": 256}),
    "mixed_kv": (_chat(60, 10, **GROWING), {**EAGER, "enable_mixed_chunk": True}),
    "prefix_groups": (_groups(120, 25, 6), {}),
    "prefix_nested": (_groups(120, 25, 10, nested=True), {"max_running_requests": 16}),
    "prefix_evicted": (_groups(150, 25, 30, nested=True), {**EAGER, "max_total_tokens": 6000}),
    "prefix_pages": (
        _groups(120, 25, 8, nested=True),
        {"page_size": 16, "max_total_tokens": 6400, "schedule_conservativeness": 0.3},
    ),
    "prefix_off": (_groups(120, 25, 6), NO_RADIX),
    "conversations": (_turns(30, 6, 150, 800), {}),
    "conversations_kv": (_turns(40, 8, 100, 800), {**EAGER, "max_total_tokens": 5000}),
    "lpm": (_groups(150, 8, 12, nested=True), {"schedule_policy": "lpm", "max_running_requests": 16}),
    "lpm_kv": (_groups(150, 8, 12), {**EAGER, "schedule_policy": "lpm"}),
    "lpm_long_queue": (_groups(320, 2, 12, output=(4, 60)), {"schedule_policy": "lpm", "max_running_requests": 16}),
    "dfs_weight": (_groups(150, 8, 12, nested=True), {"schedule_policy": "dfs-weight", "max_running_requests": 16}),
    "dfs_weight_kv": (_groups(120, 8, 12), {**EAGER, "schedule_policy": "dfs-weight"}),
    "lof": (_chat(150, 10, stops=True), {**STOPS, "schedule_policy": "lof", "max_running_requests": 16}),
    "priorities": (
        _ranked(_chat(120, 12), (0, 5, 9)),
        {"enable_priority_scheduling": True, "max_running_requests": 12},
    ),
    "priorities_lof": (
        _ranked(_chat(120, 12), (0, 5, 9)),
        {"enable_priority_scheduling": True, "schedule_policy": "lof", "max_running_requests": 12},
    ),
    "priorities_retract": (
        _ranked(_chat(120, 12)),
        {"enable_priority_scheduling": True, "max_running_requests": 12},
    ),
    "foreseen": (_chat(120, 12), {**NO_RADIX, **SHORT_KV}),
    "foreseen_growing": (_chat(80, 8, prompt=(10, 60), output=(100, 500)), {**NO_RADIX, **SHORT_KV}),
    "aborts": (_leaving(_chat(150, 25)), {"max_running_requests": 16}),
    "aborts_kv": (_leaving(_chat(80, 10, **GROWING)), EAGER),
    "aborts_mixed": (_leaving(_groups(100, 15, 8)), {**EAGER, "enable_mixed_chunk": True}),
    "pages_arriving": (
        _chat(80, 15, prompt=(20, 500), output=(20, 200)),
        {**EAGER, "page_size": 16, "max_total_tokens": 3008, "max_running_requests": 24},
    ),
    "priorities_mixed": (
        _ranked(_chat(100, 12)),
        {"enable_priority_scheduling": True, "enable_mixed_chunk": True, "max_running_requests": 12},
    ),
    "budgets_tiny": (
        _chat(80, 30, prompt=(1, 90), output=(1, 30)),
        {"chunked_prefill_size": 16, "max_prefill_tokens": 40, "max_running_requests": 3},
    ),
    "first_tokens_only": (_chat(120, 15, output=(1, 2)), {"max_running_requests": 4}),
    "context_limit": (
        _chat(60, 30, prompt=(10, 480), output=(40, 200)),
        {"context_length": 512, "chunked_prefill_size": 256},
    ),
}  # fmt: skip


def scenarios() -> Iterator[tuple[str, Maker, dict[str, Any]]]:
    """Each scenario twice: with the overlapped scheduler, SGLang's default, and without."""
    for name, (make, settings) in SCENARIOS.items():
        for overlap in (False, True):
            yield (
                f"{name}_overlap" if overlap else name,
                make,
                BASE | settings | {"disable_overlap_schedule": not overlap},
            )
