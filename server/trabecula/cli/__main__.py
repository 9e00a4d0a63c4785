"""``python -m trabecula.cli`` is ``trabecula``."""

from trabecula.cli.app import main

main()
