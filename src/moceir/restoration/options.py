"""Everything that a caller can ask of a restoration, checked when it is asked."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from moceir.config import StrictModel, describe_validation_error
from moceir.errors import ConfigError
from moceir.image_io.formats import DEFAULT_QUALITY, Limits
from moceir.machine.devices import check_device_name, check_precision_name
from moceir.machine.memory import parse_bytes
from moceir.onnx_files import SUFFIX

Experts = Literal["auto", "cheapest", "dearest"] | Sequence[int] | Sequence[Sequence[int]]
"""Which experts work on a picture: those that the routers choose, the cheapest or dearest, or given ones per decoder
block, deep first: one index, or as many as work together (as in ``RoutingReport.experts``)."""

Effort = Literal["low", "auto", "high"] | float
"""How much a picture may cost, as a shift of the routers' choice towards cheap (below 0) or dear experts (above 0)."""

EFFORTS: dict[Any, float] = {"low": -1.0, "auto": 0.0, "high": 1.0}
"""The efforts with a name: how far the score of the dearest expert is shifted, the others' less."""


ENLARGING = {2: "tiny-x2", 3: "tiny-x4", 4: "tiny-x4"}
"""Bundled models by the largest factor that they are used for."""

FIXED_OPTIONS = ("model", "backend", "device", "threads", "compiled")
"""Options of the loaded network, which all that share it have in common."""


def _checked(check: Callable[[Any], Any]) -> BeforeValidator:
    """Build a validator that leaves None to the type and everything else to a check that raises `ConfigError`."""
    return BeforeValidator(lambda given: None if given is None else check(given))


def _number(given: Any) -> float:
    """Return a finite float, or NaN for anything else."""
    try:
        number = float(given)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _max_pixels(given: Any) -> int:
    pixels = _number(given)
    if not pixels >= 1:
        raise ConfigError(f"max_pixels is {given}; give a number of pixels from 1, or None for what memory allows")
    return int(pixels)


def _model(given: Any) -> str:
    if not isinstance(given, str | os.PathLike):
        raise ConfigError(f"model is {given!r}; give a bundled name, a model folder or a .ckpt file")
    model = os.fspath(given)
    if model.endswith(".xml"):
        raise ConfigError(f"{model} is a file for OpenVINO, which moceir does not run; export the model to {SUFFIX}")
    return model


def _upscale(given: Any) -> Any:
    """Return the number for a digit of text, as forms hold it, and anything else unchanged."""
    return int(given) if isinstance(given, str) and given in ("1", "2", "3", "4") else given


def _strength(given: Any) -> float:
    strength = _number(given)
    if not 0 <= strength <= 1:
        shown = f"{given:g}" if isinstance(given, float) else given
        raise ConfigError(f"strength is {shown}; give a number from 0 (nothing changes) to 1 (all of it)")
    return strength


def _effort(given: Any) -> Effort:
    if isinstance(given, str) and given in EFFORTS:
        return given  # pyright: ignore[reportReturnType] - one of the three names
    shift = _number(given)
    if math.isnan(shift):
        raise ConfigError(f"effort is '{given}'; give low, auto, high or a finite number such as -0.5 (0 is auto)")
    return shift


def _experts(given: Any) -> str | tuple[tuple[int, ...], ...]:
    """Return a name, or the experts of each block; they may come as text (``0,2,1`` or ``0+1,2+3``) or as arrays."""
    if isinstance(given, str):
        if given in ("auto", "cheapest", "dearest"):
            return given
        blocks = [block.split("+") for block in given.split(",")]
        if not all(index.strip().isdecimal() for block in blocks for index in block):
            raise ConfigError(
                f"unknown experts '{given}'; choose auto, cheapest, dearest, or one index per decoder block as 0,2,1"
            )
        return tuple(tuple(map(int, block)) for block in blocks)
    rows = given.tolist() if hasattr(given, "tolist") else given
    try:
        return tuple(tuple(map(operator.index, row if isinstance(row, Iterable) else (row,))) for row in rows)
    except TypeError as error:
        msg = f"experts are {given!r}; give auto, cheapest, dearest, or whole numbers for each decoder block"
        raise ConfigError(msg) from error


class RestoreOptions(StrictModel):
    """Everything that a caller can ask of a restoration: the command line, Python, a server and a cluster alike.

    Values are checked and brought to one form: ``memory_limit="4GB"`` becomes 4000000000, arrays of experts become
    tuples. Whether the device is there and the experts fit the network is checked by `Restorer`.

    Raises:
        ConfigError: If a value is out of range, an option is unknown, or an effort stands beside fixed experts.
    """

    model: Annotated[str, _checked(_model)] = "tiny"
    """The network: a bundled name, a model folder, a published ``.ckpt`` file, or a file of ``moceir export``. With
    ``upscale``, ``tiny`` stands for ``tiny-x2`` or ``tiny-x4``."""
    backend: Literal["auto", "torch", "onnx"] = "auto"
    """What computes the network: ``torch``, or an exported file in onnxruntime (``onnx``). ``auto`` follows the model's
    suffix: ``.onnx`` is an exported file. With ``onnx``, other models are exported on first use, into a cache. Exported
    files compute on the processor in float32, choose the experts themselves and do not enlarge."""
    upscale: Annotated[Literal[1, 2, 3, 4] | None, _checked(_upscale)] = None
    """Factor by which both sides grow: that of the network or a smaller one, to which its result is reduced. None is
    that of the network, which is 1 for those that only restore."""
    device: Annotated[str, _checked(check_device_name)] = "auto"
    """``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``mps``, or one of several such as ``cuda:1``."""
    precision: Annotated[str, _checked(check_precision_name)] = "auto"
    """Type of the arithmetic: ``float32``, ``bfloat16`` or ``float16``. ``auto`` is bfloat16 on CUDA devices that
    compute in it, and float32 elsewhere. Weights, spectra, and sums over the picture stay in float32."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the processor for the whole process; None leaves torch as it is."""
    compiled: bool = False
    """Let ``torch.compile`` (on GPUs with CUDA graphs) restore sizes that come again; the first of each takes long."""
    experts: Annotated[Literal["auto", "cheapest", "dearest"] | tuple[tuple[int, ...], ...], _checked(_experts)] = (
        "auto"
    )
    """``auto`` leaves the choice to the routers; ``cheapest`` and ``dearest`` force the ends of the scale in every
    block; a sequence forces the experts of each decoder block, deep first."""
    effort: Annotated[Effort, _checked(_effort)] = "auto"
    """``low``, ``auto``, ``high`` or a number: shifts what the routers choose. Less effort never costs more."""
    strength: Annotated[float, _checked(_strength)] = 1.0
    """How much of the restoration to take, from 0 (the picture as it came) to 1 (all of it)."""
    keep_tones: bool = False
    """Keep the brightness and colours of the input at large scales, so that dusk and mist stay as they are."""
    memory_limit: Annotated[int | None, _checked(parse_bytes)] = None
    """Bytes that a restoration may take beside the loaded network, also as text such as ``4GB``; None is nine tenths of
    what is free on the device at the time."""
    format: Literal["jpeg", "png", "webp", "tiff"] | None = None
    """Format of the results; None follows the suffix of the target, or else the format of the source (PNG where that is
    only read)."""
    quality: int = Field(default=DEFAULT_QUALITY, ge=1, le=100)
    """Quality of JPEG and WebP files, 1 to 100."""
    metadata: Literal["keep", "strip"] = "keep"
    """``strip`` leaves out EXIF, XMP, IPTC and comments; the colour profile stays."""
    max_pixels: Annotated[int | None, _checked(_max_pixels)] = None
    """Larger pictures are refused; None is 500 million, or fewer where there is no memory to decode as many."""
    max_bytes: Annotated[int, _checked(parse_bytes)] = Limits.max_bytes
    """Larger files are refused; also as text such as ``500MB``."""

    @property
    def network(self) -> str:
        """The model to load: the smallest bundled one that enlarges enough stands in for ``tiny``."""
        return ENLARGING.get(self.upscale or 1, self.model) if self.model == "tiny" else self.model

    @property
    def chosen_backend(self) -> str:
        """The backend, with ``auto`` decided."""
        if self.backend != "auto":
            return self.backend
        return "onnx" if self.model.endswith(SUFFIX) else "torch"

    @property
    def shift(self) -> float:
        """The effort as a number: how far the routers' scores are shifted."""
        return EFFORTS.get(self.effort, 0.0) if isinstance(self.effort, str) else self.effort

    def changed(self, **changes: Any) -> Self:
        """Return a copy with other values, checked like the first ones.

        Raises:
            ConfigError: As for the class.
        """
        return type(self)(**dict(self) | changes)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Turn pydantic's complaints into ours."""
        try:
            options = handler(given)
        except ValidationError as error:
            raise ConfigError(f"wrong options: {describe_validation_error(error, cls)}") from error
        if options.experts != "auto" and options.shift:
            msg = f"effort {options.effort} has nothing to choose beside fixed experts; give one of the two"
            raise ConfigError(msg)
        options._check_backend()
        return options

    def _check_backend(self) -> None:
        """Refuse what an exported file cannot do.

        Raises:
            ConfigError: If anything like that is asked.
        """
        if self.chosen_backend == "torch":
            if self.model.endswith(SUFFIX):
                raise ConfigError(f"{self.model} is an exported file, which torch cannot run; leave out the backend")
            return
        refused = {
            "experts": self.experts != "auto",
            "effort": self.shift != 0,
            "compiled": self.compiled,
            "device": not self.device.startswith(("auto", "cpu")),
            "precision": self.precision not in ("auto", "float32"),
        }
        asked = ", ".join(name for name, given in refused.items() if given)
        if asked:
            raise ConfigError(
                f"the backend onnx cannot follow {asked}: exported files choose the experts themselves, and "
                "compute on the processor in float32; leave that out, or use the backend torch"
            )
