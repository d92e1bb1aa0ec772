"""The commands: each reads what was typed, lets the house do it, and prints what came of it."""
