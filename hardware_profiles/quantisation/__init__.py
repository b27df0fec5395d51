"""Quantised checkpoints: which modules have how many bits, and what the engine multiplies them in."""
