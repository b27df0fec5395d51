"""From what was recorded to tables, files and back."""
