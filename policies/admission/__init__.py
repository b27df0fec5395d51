"""Whether an arriving request is served at all: one `Admission` a file."""
