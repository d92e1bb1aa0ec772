"""Prompts out of archives: exported conversations, logs, question sets and tables, in a folder or a bucket."""
