"""Whether what the scanners send, and what comes of it, has moved away from a reference."""
