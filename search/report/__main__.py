"""Run the command `python -m search.report`."""

import sys

from search.report.writer import main

if __name__ == "__main__":
    sys.exit(main())
