"""`python -m lofarpipe`: the command genericpipeline.py."""

import sys

from lofarpipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
