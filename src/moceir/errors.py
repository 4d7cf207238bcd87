"""Every error that a user can cause, as one small family.

Each message says what was given, what was expected and what to do about it, in one line: the command line prints it
as it is, without a traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class MoceirError(Exception):
    """Base of all errors that moceir raises on purpose."""


class ConfigError(MoceirError):
    """A setting, recipe or model description is unknown, contradictory or out of range."""


class ImageError(MoceirError):
    """A picture is missing, unreadable, unsupported or of a shape that cannot be used."""


class WeightsError(MoceirError):
    """A model or checkpoint is missing, damaged, refused for safety, or does not fit its configuration."""


class DataError(MoceirError):
    """A data set is empty, incomplete or wrongly paired."""


class TrainingError(MoceirError):
    """A training run cannot go on."""


class OutputError(MoceirError):
    """A result cannot be written where it was asked for."""


class ExportError(MoceirError):
    """A file for another program does not compute what the network computes."""


class MissingExtraError(MoceirError):
    """A part of moceir is asked for whose libraries are not installed."""


def named(source: object, error: MoceirError) -> str:
    """What a line says of a file that failed, with its name once."""
    return str(error) if f" {source} " in f" {error} " else f"{source}: {error}"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Ask about the known name that is closest to one that is not known.

    Returns:
        ``did you mean 'noise'?``, or an empty string if no name is close.
    """
    close = get_close_matches(given, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else ""


def require_extra(module: str, extra: str) -> None:
    """Check that an optional library is there before the part that needs it is imported.

    Args:
        module: Top-level module of the library.
        extra: Name of our optional-dependency group that brings it.

    Raises:
        MissingExtraError: If the library is not installed.
    """
    if find_spec(module) is None:
        msg = f"this needs {module}, which is not installed; install it with: pip install 'moceir[{extra}]'"
        raise MissingExtraError(msg)
