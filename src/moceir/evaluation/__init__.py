"""Evaluation of a restorer on test sets, with scores per picture and on average, beside published results."""

from moceir.evaluation.published import PUBLISHED, expand
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
    "PUBLISHED",
    "Evaluation",
    "ImageScore",
    "Protocol",
    "TestSet",
    "benchmark_set",
    "evaluate",
    "expand",
    "paired_set",
    "synthetic_set",
]
