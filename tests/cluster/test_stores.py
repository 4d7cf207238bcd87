"""Stores list, read and write by key; they are patient, and write whole objects or none."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path
from typing import Any

import faulty_store
import fsspec
import pytest

from moceir.cluster import stores
from moceir.cluster.stores import Store
from moceir.errors import ConfigError, MissingExtraError, OutputError, StoreError

KEYS = ("a.png", "a/1.png", "a/b/2.png", "b.png", "z/3.png")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "FIRST_WAIT_S", 0.0)


def places(tmp_path: Path, s3: Any) -> list[str]:
    fsspec.filesystem("s3").mkdir("test-stores", exist_ok=True)
    return [str(tmp_path / "local"), f"faulty://{tmp_path}/faulty", "s3://test-stores/deep", f"file://{tmp_path}/url"]


def test_what_is_written_is_listed_and_read(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty_store.FaultyFileSystem, "seed", 1)
    for url in places(tmp_path, s3):
        store = Store(url)
        for key in reversed(KEYS):
            store.write(key, f"of {key}".encode())
        store.write("b.png", b"again")
        listed = {entry.key: entry for entry in store.entries()}
        assert sorted(listed) == list(KEYS)
        assert [listed[key].size for key in ("a.png", "b.png")] == [8, 5]
        assert all(entry.etag for entry in listed.values())
        assert store.read("a/b/2.png") == b"of a/b/2.png"
        assert store.names("a") == ["a/1.png", "a/b"]
        assert store.names("nothing") == []
        with pytest.raises(FileNotFoundError):
            store.read("a/none.png")
        here = tmp_path / "copy"
        store.download("a.png", here)
        store.upload(here, "deep/er/copy.png")
        assert store.read("deep/er/copy.png") == b"of a.png"
        store.remove("deep/er/copy.png")
        store.remove("deep/er/copy.png")
        assert store.names("deep/er") == []
        changed = next(entry for entry in store.entries() if entry.key == "a.png")
        assert changed == listed["a.png"]
    assert faulty_store.FaultyFileSystem.failures > 0


def test_s3_is_listed_page_by_page_in_order(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("s3")
    fs.mkdir("test-pages")
    keys = [f"{number % 3}/{number:03}.png" for number in range(25)]
    for key in keys:
        fs.pipe_file(f"test-pages/in/{key}", b"x")
    fs.pipe_file("test-pages/inside.png", b"of another folder")
    store = Store("s3://test-pages/in/")
    plain, asked = store._fs.call_s3, []  # pyright: ignore - pages are not visible from outside

    def call(method: str, **named: Any) -> Any:
        asked.append(named)
        return plain(method, MaxKeys=10, **named)

    monkeypatch.setattr(store._fs, "call_s3", call)
    assert [entry.key for entry in store.entries()] == sorted(keys)
    assert len(asked) == 3


def test_errors_that_pass_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(stores, "FIRST_WAIT_S", 0.2)
    monkeypatch.setattr(stores.time, "sleep", waits.append)
    store = Store(f"faulty://{tmp_path}")
    monkeypatch.setattr(faulty_store.FaultyFileSystem, "share", 0.6)
    for number in range(20):
        with_failures = faulty_store.FaultyFileSystem.failures
        try:
            store.write(f"{number}.png", b"x" * 100)
        except StoreError:
            assert faulty_store.FaultyFileSystem.failures - with_failures >= stores.ATTEMPTS
    assert waits
    assert all(0.1 <= wait <= stores.LONGEST_WAIT_S for wait in waits)
    monkeypatch.setattr(faulty_store.FaultyFileSystem, "share", 1.0)
    waits.clear()
    with pytest.raises(StoreError, match=r"cannot read faulty.*9.png: the store stumbled; check its address"):
        store.read("9.png")
    assert len(waits) == stores.ATTEMPTS - 1
    assert all(later > 0.9 * wait for wait, later in itertools.pairwise(waits))
    assert all(path.read_bytes() == b"x" * 100 for path in tmp_path.glob("*.png"))  # whole or not there


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_errors_that_stay_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    calls: list[str] = []

    def fail(path: Path, data: bytes) -> None:
        calls.append(str(path))
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match=r"cannot write .*a\.png"):
        Store(str(tmp_path)).write("a.png", b"x")
    assert len(calls) == 1


def test_each_problem_has_one_clear_line(tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nonsense://x is not a store that fsspec knows"):
        Store("nonsense://x")
    for look in (Store.check, lambda store: list(store.entries())):
        with pytest.raises(StoreError, match=r"none does not exist; give a folder or a URL that holds pictures"):
            look(Store(str(tmp_path / "none")))
        with pytest.raises(StoreError, match=r"s3://no-such-bucket/in does not exist"):
            look(Store("s3://no-such-bucket/in"))
    fsspec.filesystem("s3").mkdir("test-forbidden", exist_ok=True)
    monkeypatch.setattr(s3, "forbidden", True)
    with pytest.raises(StoreError, match=r"no permission to list s3://test-forbidden .*credentials in the environment"):
        list(Store("s3://test-forbidden").entries())
    with pytest.raises(StoreError, match=r"no permission to write s3://test-forbidden/a.png"):
        Store("s3://test-forbidden").write("a.png", b"x")
    monkeypatch.setattr(stores, "ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"cannot list s3://test-forbidden: .*check its address, the network"):
        list(Store("s3://test-forbidden").entries())
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(stores.fsspec, "url_to_fs", fail)
    with pytest.raises(MissingExtraError, match=r"gs://bucket needs a library that is not installed: .*gcsfs"):
        Store("gs://bucket")


@pytest.mark.parametrize(
    ("source", "target", "inside"),
    [
        ("in", "in", True),
        ("in", "in/out", True),
        ("in", "in2", False),
        ("in/", "in", True),
        ("in", "out/../in/x", True),
    ],
)
def test_what_lies_inside(tmp_path: Path, source: str, target: str, inside: bool) -> None:
    assert Store(f"{tmp_path}/{source}").holds(Store(f"{tmp_path}/{target}")) == inside
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert Store(str(tmp_path / "in")).holds(Store(str(tmp_path / "link")))
