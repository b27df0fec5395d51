"""The commands as functions: Python values in, tables back. ``import servesim`` has them."""
