"""``python -m moceir``."""

from moceir.cli import main

if __name__ == "__main__":  # processes that train together import this file too
    main()
