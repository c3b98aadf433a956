"""Command lines whose faults are one line each."""

from __future__ import annotations

import argparse
from typing import NoReturn

EXIT_USAGE = 2


class Reader(argparse.ArgumentParser):
    """Reads a command line; a fault of it is one line that names --help, not the list of all that there is."""

    def error(self, message: str) -> NoReturn:
        """End the process with the status of wrong usage."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")
