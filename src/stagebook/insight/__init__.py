"""What was recorded, in words and numbers: runs, steps, exchanges."""
