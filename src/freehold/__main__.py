"""`python -m freehold`, and the program `freehold`."""

import sys

from freehold.cli.main import run


def main() -> None:
    """Run the command line with this process's arguments and exit."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
