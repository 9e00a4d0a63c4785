"""The command line. Commands import what they need when they run, so that ``--help`` answers at once."""

import signal


def main() -> None:
    """Entry point of the ``trabecula`` script."""
    # Jobs in a script's background are started with SIGINT ignored; `kill -INT` is to end them all the same, from the
    # first moment on.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    from trabecula.cli.app import app

    app()
