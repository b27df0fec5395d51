"""Studies: one file a question. Scenario files (`*.toml`) here are run with `servesim run`."""
