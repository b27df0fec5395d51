"""This project's own columns."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(arrival_s="arrival_s", prompt_tokens="prompt_tokens", output_tokens="output_tokens")
