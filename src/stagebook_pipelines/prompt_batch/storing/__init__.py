"""Results into any table or file: PostgreSQL (Supabase is one), SQLite, JSON lines, Parquet."""
