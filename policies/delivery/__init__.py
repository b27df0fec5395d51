"""When generated tokens reach their readers: one `Delivery` a file."""
