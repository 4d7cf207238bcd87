"""Degradations for training and testing, one module each; drawing parameters is separate from applying them.

``DEGRADATIONS`` maps names to classes, ``parse`` reads degradation text (``"noise:sigma=25"``, ``"haze+rain"``), and
``degrade`` draws and applies in one call.
"""

from moceir.degradations.base import Degradation
from moceir.degradations.blur import Blur
from moceir.degradations.clean import Clean
from moceir.degradations.composite import CDD11, Composite, Real, Step, flatten
from moceir.degradations.haze import Haze
from moceir.degradations.jpeg import Jpeg
from moceir.degradations.low_light import LowLight
from moceir.degradations.noise import Noise, PoissonGaussian
from moceir.degradations.rain import Rain
from moceir.degradations.resize import Resize
from moceir.degradations.snow import Snow
from moceir.degradations.spec import DEGRADATIONS, CompositeSpec, DegradationSpec, Spec, degrade, parse

__all__ = [
    "CDD11",
    "DEGRADATIONS",
    "Blur",
    "Clean",
    "Composite",
    "CompositeSpec",
    "Degradation",
    "DegradationSpec",
    "Haze",
    "Jpeg",
    "LowLight",
    "Noise",
    "PoissonGaussian",
    "Rain",
    "Real",
    "Resize",
    "Snow",
    "Spec",
    "Step",
    "degrade",
    "flatten",
    "parse",
]
