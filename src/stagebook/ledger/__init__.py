"""The store of all that was asked, answered, made and paid: one writer per process, plain SQL, two small dialects."""
