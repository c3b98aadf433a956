"""Command-line parser with one-line errors."""

from __future__ import annotations

import argparse
from typing import NoReturn

EXIT_USAGE = 2


class Reader(argparse.ArgumentParser):
    """Argument parser whose errors are one line with a hint at --help, without the usage."""

    def error(self, message: str) -> NoReturn:
        """End the process with the status of wrong usage."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")
