"""The traces of alibaba-edu/qwen-bailian-usagetraces-anon: JSON lines with times in seconds, blocks of 16."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="timestamp",
    prompt_tokens="input_length",
    output_tokens="output_length",
    hash_ids="hash_ids",
    hash_block_tokens=16,
    some_blocks=True,
    mark="chat_id",
)
