"""The traces of kvcache-ai/Mooncake, and those with sessions as AIPerf extends them.

JSON lines with times in milliseconds and prefix blocks; a session's later turns have a delay, no timestamp.
"""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="timestamp",
    prompt_tokens="input_length",
    output_tokens="output_length",
    hash_ids="hash_ids",
    ticks_per_s=1000.0,
    session_id="session_id",
    think_s="delay",
)
