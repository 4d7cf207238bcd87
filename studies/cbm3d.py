"""How good is CBM3D (Dabov et al. 2007) in the protocol of our denoising results? A yardstick that was never trained.

    pip install bm3d
    python studies/cbm3d.py TEST_SETS --every 8 --write src/moceir/pretrained/tiny/README.md

CBM3D is told the noise level, which our networks are not. Both restore the same pictures; the results go to
studies/results/cbm3d.json, and into the page. The package is not a dependency of this project: its licence is for
non-commercial use only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moceir.data.metrics import psnr_db, ssim
from moceir.evaluation import benchmark_set
from moceir.evaluation.pages import check_parts, replace_part
from moceir.evaluation.profiling import describe_machine
from moceir.evaluation.report import markdown_table
from moceir.files import write_json
from moceir.insight.signatures import fingerprint
from moceir.restoration import Restorer
from moceir.weights import resolve

RESULTS = Path(__file__).parent / "results" / "cbm3d.json"
PART = "cbm3d"
SIGMAS = (15, 25, 50)
Pixels = NDArray[np.float32]


def score(restore: Callable[[Pixels], Pixels], degraded: Pixels, clean: Pixels) -> tuple[float, float, float]:
    """Return PSNR in dB, SSIM and processor seconds of a method on one picture, ``(H, W, 3)`` in [0, 1]."""
    began = time.process_time()
    restored = restore(degraded)
    seconds = time.process_time() - began
    batches = (torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (restored, clean))
    return float(psnr_db(*batches)), float(ssim(restored, clean)), seconds


def cbm3d(degraded: Pixels, sigma: int) -> Pixels:
    """Denoise a picture ``(H, W, 3)`` in [0, 1] whose noise level is known, in 8-bit levels."""
    import bm3d  # noqa: PLC0415 - not a dependency

    return np.clip(bm3d.bm3d_rgb(degraded.astype(np.float64), sigma / 255), 0, 1).astype(np.float32)


def table(measured: Mapping[str, Any]) -> list[str]:
    """Write the results as lines of Markdown."""
    names = [f"cbsd68-s{sigma}" for sigma in SIGMAS]
    rows: list[list[str]] = []
    for method, results in measured["results"].items():
        scores = [f"{results[name]['psnr_db']:.2f} / {results[name]['ssim']:.3f}" for name in names]
        rows.append([method, *scores, f"{mean(results[name]['processor_seconds'] for name in names):.1f}"])
    lead = (
        f"Weights {measured['weights']}. {measured['pictures']} pictures of CBSD68 (every {measured['every']}th), "
        f"PSNR in dB / SSIM, published protocol, seed {measured['seed']}; processor seconds per picture on "
        f"{measured['machine']['cpu']}."
    )
    return [lead, "", *markdown_table(("", *names, "seconds"), rows)]


def main() -> None:
    """Denoise pictures of CBSD68 at each noise level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the test sets")
    parser.add_argument("--every", type=int, default=1, help="use each n-th picture only")
    parser.add_argument("--model", default="tiny", help="network to compare with")
    parser.add_argument("--write", type=Path, help="page whose part is replaced")
    arguments = parser.parse_args()
    if arguments.write:
        check_parts(arguments.write, [PART])
    restorer = Restorer.from_pretrained(arguments.model, device="cpu")
    results: dict[str, dict[str, object]] = {}
    pictures = 0
    for sigma in SIGMAS:
        methods: dict[str, Callable[[Pixels], Pixels]] = {
            "CBM3D": lambda degraded, sigma=sigma: cbm3d(degraded, sigma),
            arguments.model: lambda degraded: np.clip(restorer.restore(degraded), 0, 1),
        }
        pairs = [*benchmark_set(f"cbsd68-s{sigma}", arguments.data).pairs("published", 0, None)][:: arguments.every]
        pictures = len(pairs)
        for name, restore in methods.items():
            psnr, structure, seconds = (
                mean(column)
                for column in zip(*(score(restore, pair.degraded, pair.clean) for pair in pairs), strict=True)
            )
            results.setdefault(name, {})[f"cbsd68-s{sigma}"] = {
                "psnr_db": round(psnr, 3),
                "ssim": round(structure, 4),
                "processor_seconds": round(seconds, 2),
            }
            print(name, sigma, results[name][f"cbsd68-s{sigma}"], flush=True)
    about = {"weights": fingerprint(resolve(arguments.model))[:8], "pictures": pictures, "every": arguments.every}
    measured = about | {"protocol": "published", "seed": 0, "results": results, "machine": describe_machine("cpu")}
    write_json(RESULTS, measured)
    if arguments.write:
        replace_part(arguments.write, PART, table(measured))


if __name__ == "__main__":
    main()
