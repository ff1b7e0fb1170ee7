"""`python -m kd_asr`: the command `kd-asr`."""

import sys

from kd_asr.cli import main

if __name__ == "__main__":
    sys.exit(main())
