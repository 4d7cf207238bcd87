"""How good is CBM3D (Dabov et al. 2007) in the protocol of our denoising results? A yardstick that was never trained.

    pip install bm3d
    python studies/cbm3d.py TEST_SETS --every 4

CBM3D is told the noise level, which our networks are not. Both restore the same pictures; the results go to
studies/results/cbm3d.json. The package is not a dependency of this project: its licence is for non-commercial use only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import bm3d
import numpy as np
import torch
from numpy.typing import NDArray

from moceir.data.metrics import psnr_db, ssim
from moceir.evaluation import benchmark_set
from moceir.evaluation.profiling import describe_machine
from moceir.files import write_json
from moceir.restoration import Restorer

RESULTS = Path(__file__).parent / "results" / "cbm3d.json"
SIGMAS = (15, 25, 50)
Pixels = NDArray[np.float32]


def score(restore: Callable[[Pixels], Pixels], degraded: Pixels, clean: Pixels) -> tuple[float, float, float]:
    """Return PSNR in dB, SSIM and processor seconds of a method on one picture, ``(H, W, 3)`` in [0, 1]."""
    began = time.process_time()
    restored = restore(degraded)
    seconds = time.process_time() - began
    batches = (torch.from_numpy(picture).permute(2, 0, 1)[None] for picture in (restored, clean))
    return float(psnr_db(*batches)), float(ssim(restored, clean)), seconds


def main() -> None:
    """Denoise pictures of CBSD68 at each noise level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the test sets")
    parser.add_argument("--every", type=int, default=1, help="use each n-th picture only")
    parser.add_argument("--model", default="tiny", help="network to compare with")
    arguments = parser.parse_args()
    restorer = Restorer.from_pretrained(arguments.model, device="cpu")
    results: dict[str, dict[str, object]] = {}
    for sigma in SIGMAS:
        methods: dict[str, Callable[[Pixels], Pixels]] = {
            "CBM3D": lambda degraded, sigma=sigma: np.clip(
                bm3d.bm3d_rgb(degraded.astype(np.float64), sigma / 255), 0, 1
            ).astype(np.float32),
            arguments.model: lambda degraded: np.clip(restorer.restore(degraded), 0, 1),
        }
        pairs = [*benchmark_set(f"cbsd68-s{sigma}", arguments.data).pairs("published", 0, None)][:: arguments.every]
        for name, restore in methods.items():
            psnr, structure, seconds = (
                mean(column)
                for column in zip(*(score(restore, pair.degraded, pair.clean) for pair in pairs), strict=True)
            )
            results.setdefault(name, {})[f"cbsd68-s{sigma}"] = {
                "pictures": len(pairs),
                "psnr_db": round(psnr, 3),
                "ssim": round(structure, 4),
                "processor_seconds": round(seconds, 2),
            }
            print(name, sigma, results[name][f"cbsd68-s{sigma}"], flush=True)
    write_json(RESULTS, {"protocol": "published", "seed": 0, "results": results, "machine": describe_machine("cpu")})


if __name__ == "__main__":
    main()
