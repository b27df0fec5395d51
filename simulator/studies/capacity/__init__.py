"""The highest rate that keeps a target."""
