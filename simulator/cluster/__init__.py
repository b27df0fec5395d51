"""Replicas together: traffic, routing, transfers, migration, faults, scaling."""
