"""What holds for every test."""

import signal


def pytest_configure() -> None:
    """Make Ctrl-C reach the commands that tests start, also where the tests themselves run in the background.

    A shell ignores SIGINT for what it starts with `&`, children inherit that, and the command respects it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
