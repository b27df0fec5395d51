"""Studies beyond the paper, and worked plans."""
