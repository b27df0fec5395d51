"""Which running requests move to other replicas: one `Migration` a file."""
