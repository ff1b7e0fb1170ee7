"""The command `kd-asr`: parsing and printing only."""

from kd_asr.cli.main import main

__all__ = ["main"]
