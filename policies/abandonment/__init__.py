"""When the system drops a request that it has taken in: one `Abandonment` a file."""
