"""The traces of Mutinifni/splitwise-sim: CSV with arrivals in seconds, prompt and token sizes."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(arrival_s="arrival_timestamp", prompt_tokens="prompt_size", output_tokens="token_size")
