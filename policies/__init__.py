"""Policies: one file, one class; a file's name is the policy's name. Nothing here needs to be registered."""
