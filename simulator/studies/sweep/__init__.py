"""Axes, ranges and replications of a scenario."""
