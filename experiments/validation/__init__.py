"""Measured servers, and what servesim predicts for them: the rows, their re-simulation, the scores."""
