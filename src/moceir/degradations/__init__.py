"""Degradations to train on and to test with: one file each, parameters apart from the functions that apply them.

`DEGRADATIONS` maps names to classes, `parse` reads what a person writes (`"noise:sigma=25"`), and `degrade` draws and
applies in one call.
"""

from moceir.degradations.base import Degradation
from moceir.degradations.blur import Blur
from moceir.degradations.clean import Clean
from moceir.degradations.haze import Haze
from moceir.degradations.jpeg import Jpeg
from moceir.degradations.low_light import LowLight
from moceir.degradations.noise import Noise
from moceir.degradations.rain import Rain
from moceir.degradations.snow import Snow
from moceir.degradations.spec import DEGRADATIONS, DegradationSpec, degrade, parse

__all__ = [
    "DEGRADATIONS",
    "Blur",
    "Clean",
    "Degradation",
    "DegradationSpec",
    "Haze",
    "Jpeg",
    "LowLight",
    "Noise",
    "Rain",
    "Snow",
    "degrade",
    "parse",
]
