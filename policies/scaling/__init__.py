"""How many replicas a pool has, from time to time: one `Scaler` a file."""
