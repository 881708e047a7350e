"""Command line: `python -m stockrnn.prices`."""

import sys

from stockrnn.prices.inspection import main

if __name__ == "__main__":
    sys.exit(main())
