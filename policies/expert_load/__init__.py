"""How often tokens pick each expert."""
