"""Exceptions for errors that users can cause.

Each message is one line that says what was given, what was expected and what to do. The command line prints it
without a traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class MoceirError(Exception):
    """Base class of all errors that moceir raises deliberately."""


class ConfigError(MoceirError):
    """A setting, recipe or model description is unknown, contradictory or out of range."""


class ImageError(MoceirError):
    """A picture is missing, unreadable, unsupported or of an unusable shape."""


class TooLargeError(ImageError):
    """A picture is above a limit of bytes, pixels or memory."""


class FormatError(ImageError):
    """A file is not in one of the formats that are read."""


class WeightsError(MoceirError):
    """A model or checkpoint is missing, damaged, rejected as unsafe, or does not match its configuration."""


class DataError(MoceirError):
    """A data set is empty, incomplete or incorrectly paired."""


class TrainingError(MoceirError):
    """A training run cannot continue."""


class OutputError(MoceirError):
    """A result cannot be written to the requested location."""


class ExportError(MoceirError):
    """An exported file does not reproduce the output of the network."""


class ServerError(MoceirError):
    """A server cannot be reached, refuses a request, or cannot finish it."""


class MissingExtraError(MoceirError):
    """A requested feature needs libraries that are not installed."""


def named(source: object, error: MoceirError) -> str:
    """Format the message for a file that failed, with its name exactly once."""
    return str(error) if f" {source} " in f" {error} " else f"{source}: {error}"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Suggest the known name that is closest to an unknown one.

    Returns:
        For example ``did you mean 'noise'?``, or an empty string if no name is close.
    """
    close = get_close_matches(given, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def require_extra(module: str, extra: str) -> None:
    """Check that an optional library is installed before importing the code that needs it.

    Args:
        module: Top-level module of the library.
        extra: Name of the optional-dependency group that installs it.

    Raises:
        MissingExtraError: If the library is not installed.
    """
    if find_spec(module) is None:
        msg = f"this needs {module}, which is not installed; install it with: pip install 'moceir[{extra}]'"
        raise MissingExtraError(msg)
