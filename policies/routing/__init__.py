"""Which replica serves an arriving request: one `Router` a file."""
