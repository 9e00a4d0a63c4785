"""Durable work: PostgreSQL, content by hash, the queue, and what keeps both whole (docs/durable-work.md)."""
