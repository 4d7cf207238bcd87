"""``python -m moceir``."""

from moceir.cli import main

main()
