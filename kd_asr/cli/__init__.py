"""The command `kd-asr`: parsing and printing."""

from kd_asr.cli.main import main

__all__ = ["main"]
