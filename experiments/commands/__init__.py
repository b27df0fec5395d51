"""Commands that belong to the experiments; servesim finds them by file name."""
