"""Many simulations: sweeps, capacity searches, plans."""
