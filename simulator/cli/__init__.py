"""The servesim command."""
