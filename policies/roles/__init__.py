"""Which replicas of a disaggregated cluster compute prompts, and which decode: one `Roles` a file."""
