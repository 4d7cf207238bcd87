"""Programs that compute an exported network in place of torch. Nothing here imports torch."""

from moceir.runtimes.files import BACKENDS, LIBRARIES, Runtime, open_file

__all__ = ["BACKENDS", "LIBRARIES", "Runtime", "open_file"]
