"""What things are: runs, steps, exchanges, prompts, usage, errors, and the protocols of the door and the model."""
