"""Decides what can run (pure), gives functions what they read, runs them, and writes down what they made."""
