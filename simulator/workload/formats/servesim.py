"""This project's own columns."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="arrival_s",
    prompt_tokens="prompt_tokens",
    output_tokens="output_tokens",
    priority="priority",
    patience_s="patience_s",
    prefix_id="prefix_id",
    prefix_tokens="prefix_tokens",
    hash_ids="hash_ids",
)
