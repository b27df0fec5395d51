"""What a result looks like: text, tables, pictures."""
