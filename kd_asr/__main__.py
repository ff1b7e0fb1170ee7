"""The command `kd-asr`, as a program: `kd-asr` or `python -m kd_asr`."""

import signal
import sys


def main() -> int:
    """Run the command; the exit status."""
    # Until the modules are loaded, which takes a second, Ctrl-C ends the process without a traceback.
    interrupted = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kd_asr.cli import main as command

    signal.signal(signal.SIGINT, interrupted)
    try:
        return command()
    except KeyboardInterrupt:  # before it has begun
        return 130


if __name__ == "__main__":
    sys.exit(main())
