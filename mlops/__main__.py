"""Where the `mlops` command begins: nothing is imported yet that a Ctrl-C could interrupt aloud."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command; until it can tell of an interrupt, an interrupt just ends it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mlops.cli.main import main as run

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
