"""The ledger in SQL: what SQLite and PostgreSQL have in common."""
