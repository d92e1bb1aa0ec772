"""Prompts to providers' JSON and back as pure functions, conversations with complaints, prices, the local model."""
