"""A restorer on test sets: scores per picture and on average."""

from moceir.evaluation.scoring import (
    Evaluation,
    ImageScore,
    Protocol,
    TestSet,
    benchmark_set,
    evaluate,
    paired_set,
    synthetic_set,
)

__all__ = [
    "Evaluation",
    "ImageScore",
    "Protocol",
    "TestSet",
    "benchmark_set",
    "evaluate",
    "paired_set",
    "synthetic_set",
]
