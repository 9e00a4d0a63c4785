"""Trabecula: opportunistic bone, muscle and fat assessment from chest CT that already exists."""

__version__ = "0.1.0"
