"""Describes one data product for the archive: ``python -m lofarpipe.archive.feedback_job spec.json``.

``spec.json`` holds ``product`` (path), ``product_type`` and ``result``: the file that gets the keys, as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from lofarpipe.archive.feedback import product_keys
from lofarpipe.errors import PipelineError
from lofarpipe.support.utilities import write_atomically


def describe_product(spec_file: str) -> None:
    """Write the keys of the product named in a spec file, with this host as its location.

    Raises
    ------
    PipelineError
        If the spec cannot be read, or the product cannot be described.
    """
    try:
        spec = json.loads(Path(spec_file).read_text(encoding="utf-8"))
        product, product_type, result = (str(spec[key]) for key in ("product", "product_type", "result"))
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise PipelineError(f"{spec_file}: not a readable description of a feedback job: {err!r}") from err
    Path(result).unlink(missing_ok=True)  # of an earlier attempt
    keys = product_keys(product_type, product, socket.gethostname())
    write_atomically(Path(result), json.dumps(keys, indent=1, allow_nan=False))


def main(argv: list[str]) -> int:
    """Run; return 0, or 1 with the reason as the last line of stderr."""
    if len(argv) != 2:
        print("usage: python -m lofarpipe.archive.feedback_job spec.json", file=sys.stderr)
        return 1
    try:
        describe_product(argv[1])
    except PipelineError as err:
        print(err, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
