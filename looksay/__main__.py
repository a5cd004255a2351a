"""`python -m looksay`."""

from looksay.cli import main

if __name__ == "__main__":
    main()
