"""``python -m trabecula.cli`` is ``trabecula``."""

from trabecula.cli import main

main()
