"""What a real server did beside what a simulation of the very same requests does."""
