"""The command line. Every command is one public function with its options; nothing is computed here."""

from isdm.cli.outcome import main

__all__ = ["main"]
