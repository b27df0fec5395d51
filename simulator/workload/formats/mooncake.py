"""The request traces of kvcache-ai/Mooncake: JSON lines with times in milliseconds and prefix blocks."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="timestamp",
    prompt_tokens="input_length",
    output_tokens="output_length",
    hash_ids="hash_ids",
    ticks_per_s=1000.0,
)
