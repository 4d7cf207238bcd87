"""Judge what came back by the written rule, and install it or refuse it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from moceir.data.photographs import spread
from moceir.evaluation import TestSet, evaluate
from moceir.evaluation.report import markdown_table
from moceir.evaluation.scoring import paired_set
from moceir.evaluation.selection import COMPOSITES, DARK, SINGLE, Verdict, darken, judge_scores
from moceir.files import write_json
from moceir.insight.validation import held_out_files
from moceir.restoration import Restorer
from moceir.weights import load, read_description, resolve, save


def accept(
    candidate: Path,
    best: str,
    photographs: Path,
    *,
    real: Path | None = None,
    pictures: int = 8,
    tasks: Sequence[str] = (*SINGLE, *COMPOSITES),
    seed: int = 0,
    install: Path | None = None,
    report: Path | None = None,
) -> Verdict:
    """Score a candidate and the best model so far on held-out pictures, and apply the rule.

    Args:
        candidate: Model folder; its recipe says which photographs were held out.
        best: Name or folder of the best model so far.
        photographs: Folder that both were trained on.
        real: Folder whose sub-folders hold ``degraded`` and ``clean`` pictures each.
        pictures: Held-out pictures per task, at most, spread evenly.
        tasks: Degradations of the pictures as they are.
        seed: Seed of the degradations.
        install: Where an accepted model is written.
        report: JSON file for scores and verdict.
    """
    held_out = held_out_files(read_description(candidate), photographs)[1]
    files = spread(held_out, pictures)
    networks = {name: Restorer.from_pretrained(name) for name in (str(candidate), best)}
    scores: dict[str, dict[str, float]] = {name: {} for name in networks}
    with TemporaryDirectory() as folder:
        for test_set in _test_sets(files, tasks, real, Path(folder), seed):
            for name, restorer in networks.items():
                done = evaluate(restorer, name, test_set, seed=seed)
                # Perfect restorations count: what is infinite is above the cap of the rule.
                scores[name][test_set.name] = float(np.mean([min(s.psnr_db, 99.0) for s in done.scores]))
    ours, theirs = scores[str(candidate)], scores[best]
    verdict = judge_scores(ours, theirs)
    rows = [[task, f"{theirs[task]:.2f}", f"{ours[task]:.2f}", f"{ours[task] - theirs[task]:+.2f}"] for task in ours]
    print(*markdown_table(("task", "best so far", "candidate", "gain"), rows), verdict, sep="\n")
    if report is not None:
        content = {
            "candidate": ours,
            "best": theirs,
            "seed": seed,
            "pictures": len(files),
            "verdict": verdict._asdict(),
        }
        write_json(report, content)
    if install is not None and verdict.accepted:
        _install(candidate, best, install)
    return verdict


def _test_sets(
    files: Sequence[Path], tasks: Sequence[str], real: Path | None, folder: Path, seed: int
) -> Iterator[TestSet]:
    for task in tasks:
        yield TestSet(task, [(None, path) for path in files], task)
    dark = [darken(path, folder / f"{path.stem}.png", seed) for path in files]
    for task in (task for task in DARK if task in tasks):
        yield TestSet(f"dark {task}", [(None, path) for path in dark], task)
    for pairs in sorted(real.iterdir()) if real is not None else ():
        if (pairs / "degraded").is_dir():
            yield TestSet(f"real {pairs.name}", paired_set(pairs / "degraded", pairs / "clean").files)


def _install(candidate: Path, best: str, target: Path) -> None:
    """Write the candidate with the terms of the model that it replaces."""
    description = read_description(candidate)
    terms = read_description(resolve(best)).license
    save(load(candidate), target, description.model_copy(update={"license": terms}))
    print(f"installed in {target}; make its model card and its signatures again")
