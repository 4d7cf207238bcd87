"""Insight into routes: the experts that a picture or a folder uses, their cost, and the likely degradation."""

from moceir.insight.observing import Observation, embeddings_seen, features_of, observe
from moceir.insight.signatures import Guess, Signatures, load_signatures
from moceir.insight.survey import PictureInsight, group_of, inspect_file, observe_and_guess, usage_by_group

__all__ = [
    "Guess",
    "Observation",
    "PictureInsight",
    "Signatures",
    "embeddings_seen",
    "features_of",
    "group_of",
    "inspect_file",
    "load_signatures",
    "observe",
    "observe_and_guess",
    "usage_by_group",
]
