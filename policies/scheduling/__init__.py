"""Who runs in the next step: one `Scheduler` a file."""
