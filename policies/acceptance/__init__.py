"""How many drafts of speculative decoding are right."""
