"""From a scenario file to the objects that serve it."""
