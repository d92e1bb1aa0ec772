"""Extract prompts from archives, send them to a model, store and evaluate the answers."""
