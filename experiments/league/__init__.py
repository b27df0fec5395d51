"""The league: every scheduler under every traffic, by every metric."""
