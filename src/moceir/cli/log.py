"""Lines of the log ``moceir`` on standard error, each once in a command."""

from __future__ import annotations

import logging


class _Lines(logging.Handler):
    """Prints each line once: several parts of a command may search the same folder."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._shown:
            from moceir.cli.run.terminal import echo  # noqa: PLC0415 - keeps --help fast

            self._shown.add(line)
            echo(line, err=True)


def show_log() -> None:
    """Send the log to standard error, instead of where an earlier command in this process sent it."""
    log = logging.getLogger("moceir")
    log.handlers = [handler for handler in log.handlers if not isinstance(handler, _Lines)]
    log.addHandler(_Lines())
