"""What tests of pipelines use: a ledger in memory, a scripted model, a fake provider that keeps its own bill."""
