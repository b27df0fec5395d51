"""The length files of microsoft/vidur."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(arrival_s=None, prompt_tokens="num_prefill_tokens", output_tokens="num_decode_tokens")
