"""The request traces of microsoft/vidur."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(
    arrival_s="arrived_at", prompt_tokens="num_prefill_tokens", output_tokens="num_decode_tokens"
)
