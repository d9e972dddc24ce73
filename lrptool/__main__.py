"""``python -m lrptool``: the command line."""

from lrptool.cli import main

if __name__ == "__main__":
    main()
