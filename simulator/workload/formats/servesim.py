"""This project's own columns."""

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
    fields=TRACE_COLUMNS,
)
