"""The best settings of a scenario, found by trials of which some fail."""
