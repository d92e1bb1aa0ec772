"""Pipelines that come with Stagebook; each sees only its public names and is found by its entry point."""
