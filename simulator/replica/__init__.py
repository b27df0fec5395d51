"""One engine instance: its queues, KV blocks, steps and records."""
