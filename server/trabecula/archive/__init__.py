"""Campaigns: many archived studies read once, by a researcher, on one machine or on many.

A manifest names the studies, a shard is its part for one driver, the ledger (SQLite, one for each shard) says what has
become of each, an executor runs them in worker processes, and part files keep one line for each result. Nothing here
needs the service or its database. docs/archive.md tells it from start to end.
"""
