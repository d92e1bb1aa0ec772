"""The way out: every exchange with the world is written before it is sent and before its answer is read."""
