"""Packs at URLs are fetched once, whole or not at all."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import write_photographs

from moceir.data.fetching import default_cache, local_data
from moceir.data.packs import Pack, write_pack
from moceir.errors import ConfigError, MissingExtraError, StoreError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    photographs = write_photographs(tmp_path / "photographs", 2)
    write_pack({path.name: path for path in photographs.iterdir()}, tmp_path / "store" / "photographs.pack")
    return tmp_path / "store" / "photographs.pack"


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is fetched from a store of local files; each fetch takes a while."""
    from fsspec.implementations.local import LocalFileSystem

    plain, names = LocalFileSystem.get_file, []

    def slow(self: Any, source: str, target: str, **named: Any) -> None:
        names.append(source)
        time.sleep(0.2)
        plain(self, source, target, **named)

    monkeypatch.setattr(LocalFileSystem, "get_file", slow)
    return names


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    assert local_data(str(tmp_path / "x")) == tmp_path / "x"
    assert local_data("photographs.pack") == Path("photographs.pack")


def test_processes_of_a_machine_fetch_a_pack_once(pack: Path, fetches: list[str], tmp_path: Path) -> None:
    found: list[Path] = []
    ask = [threading.Thread(target=lambda: found.append(local_data(pack.as_uri(), tmp_path / "cache"))) for _ in "123"]
    for thread in ask:
        thread.start()
    for thread in ask:
        thread.join()
    assert len(fetches) == 1
    (place,) = set(found)
    assert place.read_bytes() == pack.read_bytes()
    assert Pack(place).names == ["p0.png", "p1.png"]


def test_a_new_version_is_fetched_again(pack: Path, fetches: list[str], tmp_path: Path) -> None:
    first = local_data(pack.as_uri(), tmp_path / "cache")
    write_pack({"other.png": tmp_path / "photographs" / "p1.png"}, pack)
    second = local_data(pack.as_uri(), tmp_path / "cache")
    assert first != second
    assert (Pack(first).names, Pack(second).names) == (["p0.png", "p1.png"], ["other.png"])
    assert len(fetches) == 2


def test_half_a_pack_is_none(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def half(self: Any, source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])

    def broken(self: Any, source: str, target: str) -> None:
        half(self, source, target)
        raise ConnectionResetError("gone")

    for how, message in ((half, "was cut off while it was fetched"), (broken, "cannot fetch .*gone; check its name")):
        monkeypatch.setattr(LocalFileSystem, "get_file", how)
        with pytest.raises(StoreError, match=message):
            local_data(pack.as_uri(), tmp_path / "cache")
        assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_each_problem_has_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"s3://bucket/photographs does not name a pack"):
        local_data("s3://bucket/photographs")
    with pytest.raises(ConfigError, match=r"nonsense://a.pack is not a URL that fsspec knows"):
        local_data("nonsense://a.pack")
    with pytest.raises(StoreError, match=r"cannot fetch memory://none.pack"):
        local_data("memory://none.pack", tmp_path)
    monkeypatch.setattr("moceir.errors.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"moceir\[cluster\]"):
        local_data("s3://bucket/a.pack")


def test_the_cache_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOCEIR_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "moceir"
    monkeypatch.setenv("MOCEIR_CACHE", "/data/packs")
    assert default_cache() == Path("/data/packs")
