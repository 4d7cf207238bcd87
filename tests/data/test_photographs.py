"""Pictures come out the same from a folder, from the cache and from a pack, and damaged packs are refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from layouts import SETS, build_layout
from safetensors.torch import save_file
from support import write_picture

from moceir import image_io
from moceir.data import packs
from moceir.data.layouts import find_data_set, find_pairs
from moceir.data.packs import Pack, write_pack
from moceir.data.pairs import pair_folders
from moceir.data.photographs import Photographs, picture_files, split_by_name, spread
from moceir.errors import DataError, ImageError, OutputError

SIZES = {"b.png": (40, 60), "a/c.jpg": (1, 1), "a/ü x.TIF": (20, 90), "z/deep.png": (7, 5)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        write_picture(folder / name, height, width, seed=number)
    deep = np.random.default_rng(9).integers(0, 2**16, (7, 5, 3)).astype(np.uint16)
    image_io.write(folder / "z" / "deep.png", image_io.Picture(deep))
    (folder / "notes.txt").touch()
    return folder


def packed(folder: Path, goal: Path) -> Path:
    write_pack({path.relative_to(folder).as_posix(): path for path in picture_files(folder)}, goal)
    return goal


def test_folders_are_searched_in_order(folder: Path) -> None:
    assert [p.relative_to(folder).as_posix() for p in picture_files(folder)] == sorted(SIZES)
    assert picture_files(folder, deep=False) == [folder / "b.png"]
    with pytest.raises(DataError, match="not a folder"):
        picture_files(folder / "notes.txt")


def test_the_cache_is_bounded(folder: Path) -> None:
    paths = picture_files(folder)
    small = Photographs(cache_bytes=40 * 60 * 3)
    small.preload(paths[2:])
    assert small[paths[2]] is small[paths[2]]
    assert small[paths[3]] is not small[paths[3]]
    assert torch.equal(small[paths[3]], Photographs()[paths[3]])


def test_preloading_names_what_is_broken(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(DataError, match=r"1 pictures cannot be used.*bad\.jpg"):
        Photographs().preload(picture_files(tmp_path))


def test_a_pack_gives_the_same_pictures_as_its_folder(folder: Path, tmp_path: Path) -> None:
    pack = packed(folder, tmp_path / "some" / "photos.pack")
    inside = picture_files(pack)
    assert [p.relative_to(pack) for p in inside] == [p.relative_to(folder) for p in picture_files(folder)]
    plain, mapped = Photographs(), Photographs()
    for theirs, ours in zip(picture_files(folder), inside, strict=True):
        assert mapped[ours].dtype == torch.uint8
        assert torch.equal(plain[theirs], mapped[ours])
    assert picture_files(pack, deep=False) == [pack / "b.png"]
    assert picture_files(pack / "a") == [pack / "a" / "c.jpg", pack / "a" / "ü x.TIF"]
    assert [p.name for p in split_by_name(inside, 0.5)[1]] == [
        p.name for p in split_by_name(picture_files(folder), 0.5)[1]
    ]
    assert [path.name for path in pack.parent.iterdir()] == ["photos.pack"], "nothing temporary is left"


def test_a_pack_is_sliced_without_being_read_whole(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png", 64, 64)
    pack = Pack(packed(tmp_path / "in", tmp_path / "a.pack"))
    assert pack["a.png"].data_ptr() == pack["a.png"].data_ptr(), "the same mapped memory, not two copies"
    copied = pickle.loads(pickle.dumps(pack))  # noqa: S301 - as a loader process gets it
    assert torch.equal(copied["a.png"], pack["a.png"])
    with pytest.raises(DataError, match="holds no picture b"):
        pack["b"]


@pytest.mark.parametrize("name", SETS)
def test_packed_sets_are_found_as_in_folders(tmp_path: Path, name: str) -> None:
    root = build_layout(tmp_path / "root", name)
    dataset = find_data_set(name)
    pack = packed(root, tmp_path / "root.pack")
    strip = [[p and p.relative_to(root) for p in pair] for pair in find_pairs(dataset, root)]
    assert [[p and p.relative_to(pack) for p in pair] for pair in find_pairs(dataset, pack)] == strip


def test_packs_are_paired_by_name(tmp_path: Path) -> None:
    for part in ("rainy", "gt"):
        for name in ("rain-1.png", "rain-2.png"):
            write_picture(tmp_path / part / (name if part == "rainy" else "no" + name))
        packed(tmp_path / part, tmp_path / f"{part}.pack")
    pairs = pair_folders(tmp_path / "rainy.pack", tmp_path / "gt.pack")
    assert [(d.name, c.name) for d, c in pairs] == [("rain-1.png", "norain-1.png"), ("rain-2.png", "norain-2.png")]


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.999])
def test_a_pack_cut_short_is_refused(folder: Path, tmp_path: Path, share: float) -> None:
    pack = packed(folder, tmp_path / "photos.pack")
    whole = pack.read_bytes()
    pack.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"photos\.pack is no whole pack.*make it anew") as error:
        picture_files(pack)
    assert "\n" not in str(error.value)


def test_other_files_are_no_packs(tmp_path: Path) -> None:
    (tmp_path / "text.pack").write_text("not pictures at all\n" * 20)
    with pytest.raises(DataError, match="no whole pack"):
        picture_files(tmp_path / "text.pack")
    save_file({"weight": torch.zeros(3)}, tmp_path / "weights.pack")
    with pytest.raises(DataError, match="no pack of pictures"):
        picture_files(tmp_path / "weights.pack")


def test_a_failure_leaves_the_old_pack(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = packed(folder, tmp_path / "photos.pack")
    before = pack.read_bytes()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        write_pack({"b.png": folder / "b.png", "broken.png": tmp_path / "broken.png"}, pack)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    # Not struct itself: whoever else packs meanwhile, as a distributed run of tests does, must not run out of space.
    monkeypatch.setattr(packs, "struct", SimpleNamespace(pack=no_space))
    with pytest.raises(OutputError, match=r"cannot write .*photos\.pack: No space left on device"):
        write_pack({"b.png": folder / "b.png"}, pack)
    assert pack.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.png", "photos.pack"]


def test_the_split_is_by_name_and_stable() -> None:
    paths = [Path(f"{n}.png") for n in range(100)]
    training, validation = split_by_name(paths, 0.1)
    assert len(validation) == 10
    assert not set(training) & set(validation)
    assert split_by_name([Path("elsewhere") / p for p in reversed(paths)], 0.1)[1] == [
        Path("elsewhere") / p for p in validation
    ]
    with pytest.raises(DataError, match="too few"):
        split_by_name(paths[:1], 0.1)


def test_chosen_files_are_spread_over_all() -> None:
    files = [Path(str(number)) for number in range(10)]
    assert [int(path.name) for path in spread(files, 2)] == [2, 7]
    assert spread(files, 10) == files
    assert spread(files, 99) == files
