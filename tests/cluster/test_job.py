"""Jobs on a real cluster of two nodes: stores that fail, a node that is killed, pictures that kill workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import files
import fsspec
import pyarrow.parquet as pq
import pytest
from support import run

pytest.importorskip("ray")

PICTURES = int(os.environ.get("MOCEIR_CLUSTER_PICTURES", "200"))
BROKEN = max(5, PICTURES // 100)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small pictures of all formats, some of them torn."""
    folder = tmp_path_factory.mktemp("archive")
    files.make_files(folder, PICTURES)
    for path in sorted(folder.rglob("*.*"))[:: PICTURES // BROKEN][:BROKEN]:
        path.write_bytes(path.read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def restored(pictures: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``moceir restore`` makes of the pictures."""
    folder = tmp_path_factory.mktemp("reference")
    result = run("restore", pictures, "-o", folder, "--model", model_folder, "--threads", "1")
    assert result.exit_code == 1
    content = contents(folder)
    assert len(content) == PICTURES - BROKEN
    return content


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(fs: fsspec.AbstractFileSystem, folder: str) -> list[dict[str, object]]:
    """All rows of the results, read without the package."""
    rows = []
    for path in fs.glob(f"{folder}/.moceir/results/*.parquet"):
        with fs.open(path) as file:
            rows += pq.read_table(file).to_pylist()
    return rows


@contextlib.contextmanager
def killing(nodes, count) -> Iterator[list[int]]:  # type: ignore[no-untyped-def]
    """Kill the second node once some results are there."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if (there := count()) >= PICTURES // 5:
                nodes.kill_second()
                killed.append(there)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def test_an_object_store_that_fails_and_a_node_that_is_killed(two_nodes, s3, pictures, restored, model_folder) -> None:  # type: ignore[no-untyped-def]
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    for bucket in ("archive", "results"):
        fs.mkdir(bucket)
    fs.put(f"{pictures}/", "archive/scans/", recursive=True)
    two_nodes.start_second()
    command = ("cluster", "restore", "s3://archive/scans", "s3://results/of/scans", "--model", model_folder)
    command = (*command, "--address", two_nodes.address, "--actors", "2")
    s3.share, s3.failures = 0.05, 0
    try:
        with killing(two_nodes, lambda: sum(path.startswith("/results/of/") for path in list(s3.written))) as killed:
            result = run(*command)
    finally:
        s3.share = 0.0
    assert result.exit_code == 1, result.output
    assert s3.failures > PICTURES // 20
    assert PICTURES // 5 <= killed[0] < PICTURES - BROKEN
    there = {path.removeprefix("results/of/scans/"): fs.cat_file(path) for path in fs.find("results/of/scans")}
    outputs = {key: data for key, data in there.items() if not key.startswith(".moceir/")}
    assert outputs == restored
    rows = rows_of(fs, "results/of/scans")
    assert Counter(row["key"] for row in rows) == Counter(list(contents(pictures)))
    assert {row["output"] for row in rows if row["status"] == "restored"} == set(restored)
    failed = {str(row["key"]): str(row["error"]) for row in rows if row["status"] == "failed"}
    assert len(failed) == BROKEN
    assert not failed.keys() & restored.keys()
    assert all(key in error and error in result.stderr for key, error in failed.items())
    # The same command again has nothing to do, but for a result that was lost.
    fs.rm_file(f"results/of/scans/{min(restored)}")
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "1 of 1 pictures" in again.stdout
    assert fs.cat_file(f"results/of/scans/{min(restored)}") == restored[min(restored)]


def test_folders_with_a_picture_that_kills_workers(  # type: ignore[no-untyped-def]
    two_nodes, pictures, restored, model_folder, tmp_path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    shutil.copytree(pictures, source)
    good = source / next(iter(restored))
    shutil.copy(good, good.with_name(f"poison{good.suffix}"))
    poison = good.with_name(f"poison{good.suffix}").relative_to(source).as_posix()
    two_nodes.start_second()
    command = ("cluster", "restore", f"faulty://{source}", target, "--model", model_folder)
    command = (*command, "--address", two_nodes.address, "--actors", "1:2")
    with killing(two_nodes, lambda: sum(path.is_file() for path in target.rglob("*"))) as killed:
        result = run(*command)
    assert result.exit_code == 1, result.output
    assert killed
    outputs = {key: data for key, data in contents(target).items() if not key.startswith(".moceir/")}
    assert outputs == restored
    rows = rows_of(fsspec.filesystem("file"), str(target))
    assert Counter(row["key"] for row in rows) == Counter(list(contents(source)))
    by_status = Counter(row["status"] for row in rows)
    assert by_status == {"restored": len(restored), "failed": BROKEN, "set aside": 1}
    assert [row["key"] for row in rows if row["status"] == "set aside"] == [poison]
    assert f"set aside: {poison}" in result.stderr
