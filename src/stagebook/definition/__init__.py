"""How a pipeline is declared: stages, prompts and phases, and the wiring that follows from what each function reads."""
