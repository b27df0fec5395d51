"""This project's own columns."""

from dataclasses import replace

from simulator.replica.request import TRACE_COLUMNS
from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="arrival_s",
    prompt_tokens="prompt_tokens",
    output_tokens="output_tokens",
    patience_s="patience_s",
    prefix_id="prefix_id",
    prefix_tokens="prefix_tokens",
    hash_ids="hash_ids",
    session_id="session_id",
    agent_id="agent_id",
    session_offset_s="session_offset_s",
    think_s="think_time_s",
    new_tokens="new_tokens",
    hash_runs="hash_runs",
    node="node",
    after="after",
    continues="continues",
    fields=TRACE_COLUMNS,
)

# What the rows are called that other formats make of their records.
RECORDS = replace(FORMAT, block_tokens="hash_block_tokens", some_blocks=True)
