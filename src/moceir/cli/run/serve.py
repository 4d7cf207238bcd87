"""Run ``moceir serve``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from moceir.cli.run.terminal import echo
from moceir.cli.serve import ServeArguments
from moceir.config import describe_validation_error
from moceir.errors import ConfigError, require_extra
from moceir.web.settings import ServeSettings

LIBRARIES = ("fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "uvicorn")


def run(arguments: ServeArguments) -> None:
    """Serve until a signal to terminate.

    Raises:
        ConfigError: If a setting is wrong, or the address cannot be used.
        MissingExtraError: If a library is missing.
        WeightsError: If a model cannot be loaded.
    """
    for library in LIBRARIES:
        require_extra(library, "serve")
    from moceir.web.app import create_app  # noqa: PLC0415 - these need the libraries checked above
    from moceir.web.server import open_socket, serve  # noqa: PLC0415

    settings = _settings(arguments)
    with open_socket(settings) as listening:
        app = create_app(settings)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        echo(f"moceir serves at http://{shown}:{port} (API: http://{shown}:{port}/docs)", err=True)
        echo("Pictures are restored on this machine; nothing leaves it. Ctrl-C stops.", err=True)
        serve(app, listening)


def _settings(arguments: ServeArguments) -> ServeSettings:
    """Build the settings from the options that were given.

    Raises:
        ConfigError: If one is wrong.
    """
    given = {name: value for name, value in arguments.settings.items() if value is not None}
    options = {name: value for name, value in arguments.options.items() if value is not None}
    token = None if arguments.token_file is None else read_token(arguments.token_file)
    try:
        return ServeSettings(**given, options=options, token=token)
    except ValidationError as error:
        raise ConfigError(f"wrong settings: {describe_validation_error(error, ServeSettings)}") from error


def read_token(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        ConfigError: If there is none.
    """
    try:
        token = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the token file {path} cannot be read; give a text file with a secret in its first line"
        raise ConfigError(msg) from error
    if not token:
        raise ConfigError(f"the token file {path} is empty; write a long secret into its first line")
    return token
