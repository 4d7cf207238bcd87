"""Table of the published data sets: their folders below a common root, and how their pictures are paired."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moceir.config import look_up
from moceir.data.pairs import Rule, pair_files
from moceir.data.photographs import is_folder, picture_files
from moceir.degradations import CDD11
from moceir.errors import DataError

Part = Literal["train", "test"]


@dataclass(frozen=True)
class Place:
    """One possible layout of a set on disk: folders below the root, all of them required.

    Attributes:
        clean: Folders of clean pictures.
        degraded: Folders of degraded pictures; empty if the set has only clean pictures.
    """

    clean: tuple[str, ...]
    degraded: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders, degraded ones first."""
        return self.degraded + self.clean

    @property
    def own(self) -> tuple[str, ...]:
        """Folders that belong to no other set."""
        return self.degraded or self.clean


@dataclass(frozen=True)
class DataSet:
    """A published set of pictures.

    Attributes:
        name: Name in recipes and options.
        part: Whether the set is for training or for testing.
        task: Type of degradation in the pictures.
        places: Possible layouts on disk; the first one found is used.
        count: Number of degraded pictures in the published set, or of clean ones if it has no degraded ones.
        source: Where to get the set.
        rules: Rules that lead from the name of a degraded picture to its clean one, tried in order.
        degrade: Degradation text for test sets that have only clean pictures.
        scale: Factor by which the degraded pictures are smaller; they are made from the clean ones.
    """

    name: str
    part: Part
    task: str
    places: tuple[Place, ...]
    count: int
    source: str
    rules: tuple[Rule, ...] = ("same name",)
    degrade: str | None = None
    scale: int = 1

    @property
    def paired(self) -> bool:
        """Whether the set includes degraded pictures."""
        return bool(self.places[0].degraded)


_BSDS = "BSDS500, https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html"
_RAIN = "Yang et al. 2017, https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
_RESIDE = "RESIDE, https://sites.google.com/view/reside-dehaze-datasets"
_GOPRO = "Nah et al. 2017, https://seungjunnah.github.io/Datasets/gopro"
_LOL = "LOL, https://daooshee.github.io/BMVC2018website/"
_CDD11 = "CDD-11 of OneRestore, https://github.com/gy65896/OneRestore"
_CBSD68 = "CBSD68, https://github.com/clausmichele/CBSD68-dataset"
_CBSD68_PLACES = (Place(("cbsd68",)), Place(("denoising/cBSD68/original_png",)))
_EDSR = "in the benchmark sets of EDSR, https://github.com/sanghyun-son/EDSR-PyTorch"
_SUPER_RESOLUTION: dict[str, tuple[str, int, str]] = {
    "set5": ("Set5", 5, f"Bevilacqua et al. 2012, {_EDSR}"),
    "set14": ("Set14", 14, f"Zeyde et al. 2010, {_EDSR}"),
    "b100": ("B100", 100, f"the 100 test pictures of BSDS300 (Martin et al. 2001), {_EDSR}"),
    "urban100": ("Urban100", 100, f"Huang et al. 2015, {_EDSR}"),
    "manga109": ("Manga109", 109, "Matsui et al. 2017, http://www.manga109.org"),
}
"""Folder, number of pictures and source of each set for super-resolution."""
_CDD11_COUNTS: dict[Part, int] = {"train": 1183, "test": 200}

_TABLE = (
    DataSet(
        "denoising",
        "train",
        "noise",
        (Place(("denoising/WaterlooED", "denoising/BSD400")),),
        4744 + 400,
        f"Waterloo Exploration Database, https://ece.uwaterloo.ca/~k29ma/exploration/ and 400 pictures of {_BSDS}",
    ),
    DataSet(
        "rain100l-train",
        "train",
        "rain",
        (Place(("deraining/RainTrainL/gt",), ("deraining/RainTrainL/rainy",)),),
        200,
        f"RainTrainL (Rain100L, training part) of {_RAIN}",
        ("same name", "rain-X to norain-X"),
    ),
    DataSet(
        "reside-ots",
        "train",
        "haze",
        (Place(("dehazing/RESIDE/clear",), tuple(f"dehazing/RESIDE/part{part}" for part in (1, 2, 3, 4))),),
        72_135,
        f"OTS (outdoor training set) of {_RESIDE}",
        ("text before _",),
    ),
    DataSet(
        "gopro-train",
        "train",
        "blur",
        (Place(("deblurring/GoPro/crop/train/target_crops",), ("deblurring/GoPro/crop/train/input_crops",)),),
        8 * 2103,
        f"{_GOPRO}; each of the 2,103 pairs cut into eight squares of 512 pixels",
    ),
    DataSet(
        "lolv1-train",
        "train",
        "low light",
        (Place(("llie/LOLv1/Train/target",), ("llie/LOLv1/Train/input",)),),
        485,
        _LOL,
    ),
    *(
        DataSet(
            f"cbsd68-s{sigma}",
            "test",
            "noise",
            _CBSD68_PLACES,
            68,
            _CBSD68,
            degrade=f"noise:sigma={sigma}",
        )
        for sigma in (15, 25, 50)
    ),
    DataSet(
        "rain100l",
        "test",
        "rain",
        (
            Place(("rain100l/gt",), ("rain100l/rainy",)),
            Place(("deraining/Rain100L/gt",), ("deraining/Rain100L/rainy",)),
        ),
        100,
        f"Rain100L, test part, of {_RAIN}",
        ("same name", "rain-X to norain-X"),
    ),
    DataSet(
        "sots-outdoor",
        "test",
        "haze",
        (Place(("dehazing/SOTS/outdoor/gt",), ("dehazing/SOTS/outdoor/hazy",)),),
        500,
        f"SOTS (synthetic objective testing set), outdoor, of {_RESIDE}",
        ("text before _",),
    ),
    DataSet(
        "gopro",
        "test",
        "blur",
        (Place(("deblurring/GoPro/test/target",), ("deblurring/GoPro/test/input",)),),
        1111,
        _GOPRO,
    ),
    DataSet(
        "lolv1",
        "test",
        "low light",
        (Place(("llie/LOLv1/Test/target",), ("llie/LOLv1/Test/input",)),),
        15,
        _LOL,
    ),
    *(
        DataSet(
            f"{name}-x{scale}",
            "test",
            "super-resolution",
            tuple(Place((place,)) for place in (f"benchmark/{folder}/HR", f"{folder}/HR", f"{folder}/GTmod12", folder)),
            count,
            source,
            degrade="clean",
            scale=scale,
        )
        for name, (folder, count, source) in _SUPER_RESOLUTION.items()
        for scale in (2, 3, 4)
    ),
    *(
        DataSet(
            f"cbsd68-x{scale}", "test", "super-resolution", _CBSD68_PLACES, 68, _CBSD68, degrade="clean", scale=scale
        )
        for scale in (2, 3, 4)
    ),
    *(
        DataSet(
            f"cdd11-train-{folder}" if part == "train" else f"cdd11-{folder}",
            part,
            folder,
            (Place((f"cdd11/{part}/clear",), (f"cdd11/{part}/{folder}",)),),
            count,
            _CDD11,
        )
        for part, count in _CDD11_COUNTS.items()
        for folder in CDD11
    ),
)

DATA_SETS: dict[str, DataSet] = {row.name: row for row in _TABLE}
"""All published sets by name."""
BENCHMARKS: dict[str, DataSet] = {row.name: row for row in _TABLE if row.part == "test"}
"""Test sets by name."""


def find_data_set(name: str) -> DataSet:
    """Look up a training or test set.

    Raises:
        ConfigError: If no set has that name.
    """
    return look_up(name, DATA_SETS, "data set")


def find_benchmark(name: str) -> DataSet:
    """Look up a test set.

    Raises:
        ConfigError: If no test set has that name.
    """
    return look_up(name, BENCHMARKS, "benchmark")


def locate(dataset: DataSet, root: Path) -> Place | None:
    """Find where a set lies below the root, preferring a complete layout to a partial one; None if it is not there.

    Folders that several sets share, such as the clean pictures of CDD-11, do not count as a sign of any of them.
    """
    there = [place for place in dataset.places if any(is_folder(root / folder) for folder in place.own)]
    whole = [place for place in there if all(is_folder(root / folder) for folder in place.folders)]
    return next(iter(whole + there), None)


def set_files(dataset: DataSet, root: Path) -> tuple[list[Path], list[Path]]:
    """List the degraded and clean pictures of a set, each sorted by folder and name.

    Raises:
        DataError: If the set is not below the root, or one of its folders is missing or empty; the message names it.
    """
    place = locate(dataset, root)
    if place is None:
        folders = ", ".join(folder for place in dataset.places for folder in place.own)
        raise DataError(
            f"{root} has none of the folders {folders} of the set '{dataset.name}'; give the folder that holds the "
            f"data sets, or get this one: {dataset.source}"
        )
    degraded, clean = (
        [path for folder in folders for path in picture_files(root / folder, deep=False)]
        for folders in (place.degraded, place.clean)
    )
    return degraded, clean


def find_pairs(dataset: DataSet, root: Path) -> list[tuple[Path | None, Path]]:
    """List the files of a set as (degraded, clean) pairs.

    Args:
        dataset: The set.
        root: Folder that contains the data sets, or a pack of it.

    Returns:
        Pairs, sorted by folder and name; the degraded file is None if the set has only clean pictures.

    Raises:
        DataError: If a folder is missing or empty, or a picture has no partner or more than one; the message names it.
    """
    degraded, clean = set_files(dataset, root)
    if not dataset.paired:
        return [(None, path) for path in clean]
    return [*pair_files(degraded, clean, dataset.rules)]
