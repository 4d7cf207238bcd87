"""Settings of a server."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from moceir.config import StrictModel
from moceir.errors import ConfigError
from moceir.machine.memory import parse_bytes


class ServeSettings(StrictModel):
    """Everything that ``moceir serve`` can be told.

    Raises:
        ConfigError: If the server could be reached from other machines without a token.
    """

    host: str = "127.0.0.1"
    """Address to listen at. Any other than loopback needs a token."""
    port: int = Field(default=7860, ge=0, le=65535)
    """Port to listen at; 0 takes a free one."""
    token: str | None = Field(default=None, min_length=1, repr=False)
    """Secret that every request must carry; None leaves a server on loopback open to the users of this machine."""
    models: tuple[str, ...] = Field(default=("tiny", "tiny-x2", "tiny-x4"), min_length=1)
    """Names, folders or checkpoints to offer. The first is the default; a request for ``upscale`` that names no model
    gets one that enlarges enough."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of ``moceir.RestoreOptions`` for all pictures, for example ``device`` and ``memory_limit``."""
    max_body: Annotated[int, BeforeValidator(parse_bytes)] = 100_000_000
    """Largest body of a request in bytes, also as text such as ``100MB``."""
    queue_length: int = Field(default=16, ge=1, le=10_000)
    """Most pictures that wait or are worked on at any time, and most requests with a body at any time."""
    seconds: float = Field(default=600.0, gt=0)
    """Longest time for a request, from its first byte to the answer."""
    drain_seconds: float = Field(default=60.0, ge=0)
    """Longest time to finish accepted pictures after a request to terminate."""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.local and self.token is None:
            raise ConfigError(
                f"{self.host} can be reached from other machines, so a token is needed; give --token-file FILE with a "
                "long secret in its first line, or listen at 127.0.0.1 only"
            )
        return self


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stands for this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
