"""From results of ``vllm bench serve`` to the overheads of an engine."""
