"""The cheapest cluster that keeps a target."""
