"""Which GPU holds which experts."""
