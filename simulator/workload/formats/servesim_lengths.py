"""This project's own columns for requests of which only the lengths are known."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(arrival_s=None, prompt_tokens="prompt_tokens", output_tokens="output_tokens")
