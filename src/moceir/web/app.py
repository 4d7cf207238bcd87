"""The web application: everything under one address."""

from __future__ import annotations

from fastapi import FastAPI

from moceir.web.service import Service
from moceir.web.settings import ServeSettings


def create_app(settings: ServeSettings) -> FastAPI:
    """Build the application and load its models; ``app.state.service`` is the `Service` behind it.

    Args:
        settings: Models, limits and token.

    Raises:
        ConfigError: If an option is wrong.
        WeightsError: If a model cannot be loaded.
    """
    app = FastAPI(title="moceir")
    app.state.service = Service(settings)
    return app
