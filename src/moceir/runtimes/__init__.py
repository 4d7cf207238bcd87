"""Programs that compute an exported network in place of torch. Nothing here imports torch."""

from moceir.runtimes.files import BACKENDS, Runtime, open_file

__all__ = ["BACKENDS", "Runtime", "open_file"]
