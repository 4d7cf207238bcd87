"""Packs in object stores: each machine fetches one once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from moceir.data.packs import PACK_SUFFIX
from moceir.errors import ConfigError, MissingExtraError, StoreError, require_extra
from moceir.files import cannot_write, whole_file


def default_cache() -> Path:
    """Return the folder of this machine that fetched packs are kept in; the environment can name one."""
    chosen = os.environ.get("MOCEIR_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base, "moceir")


def local_data(place: str, cache: Path | None = None) -> Path:
    """Return the path of training data on this machine; a pack at a URL is fetched first.

    Processes that ask for the same pack at the same time wait for the one that fetches it. Another version of a pack,
    by what its store says about it, is another file.

    Args:
        place: A path, or the URL of a pack, for example ``s3://bucket/photographs.pack``.
        cache: Folder for packs; None for `default_cache`.

    Raises:
        ConfigError: If the URL does not name a pack, or its kind is unknown.
        MissingExtraError: If the library for the URL is not installed.
        OutputError: If the pack cannot be written to the cache.
        StoreError: If it does not exist, or cannot be read.
    """
    if "://" not in place:
        return Path(place)
    name = PurePosixPath(place).name
    if not name.lower().endswith(PACK_SUFFIX):
        raise ConfigError(f"{place} does not name a pack; pack the pictures with moceir data pack, and give NAME.pack")
    require_extra("fsspec", "cluster")
    # An extra, for those who keep their data in an object store.
    import fsspec  # noqa: PLC0415

    try:
        files, path = fsspec.url_to_fs(place)
    except ImportError as error:
        raise MissingExtraError(f"{place} needs a library that is not installed: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{place} is not a URL that fsspec knows: {error}") from error
    about: dict[str, Any] = _reached(place, files.info, path)
    version = [str(about.get(key)) for key in ("size", "ETag", "etag", "md5Hash", "mtime")]
    digest = hashlib.sha256("\n".join([place, *version]).encode()).hexdigest()[:16]
    target = (cache or default_cache()) / f"{digest}-{name}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(target, error) from error
    with FileLock(target.with_suffix(".lock")):
        if not target.exists():
            with whole_file(target) as part:
                _reached(place, files.get_file, path, str(part))
                if part.stat().st_size != int(about["size"]):
                    raise StoreError(f"{place} was cut off while it was fetched; try again")
    return target


def _reached(place: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call a store, and explain why it cannot be reached if so."""
    try:
        return call(*arguments)
    except Exception as error:  # each kind of store raises what its own libraries raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StoreError(f"cannot fetch {place}: {reason}; check its name, permissions and the network") from error
