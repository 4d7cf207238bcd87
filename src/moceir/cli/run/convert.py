"""Run ``moceir convert``."""

from __future__ import annotations

import torch
import typer

from moceir.cli.convert import ConvertArguments
from moceir.cli.run.terminal import echo
from moceir.config import ModelConfig
from moceir.errors import OutputError
from moceir.files import sha256
from moceir.models.network import MoCEIR
from moceir.models.presets import PRESETS
from moceir.weights import WEIGHTS_FILE, ModelFile, load, read_description, resolve, save
from moceir.weights.published import CHECKPOINT_SUFFIX, from_published, save_published
from moceir.weights.tensors import read_checkpoint


def run(arguments: ConvertArguments) -> None:
    """Convert a model, and print what was found and written.

    Raises:
        typer.BadParameter: If an option does not apply to this direction.
        OutputError: If the output exists already and may not be replaced.
    """
    source, to_checkpoint = resolve(arguments.model), arguments.output.suffix == CHECKPOINT_SUFFIX
    if source.is_dir() and (arguments.top_k is not None or arguments.license != "unknown"):
        raise typer.BadParameter("--top-k and --license are for .ckpt files; a model folder says both itself")
    if to_checkpoint and arguments.half:
        raise typer.BadParameter("--half is for model folders; the published layout is float32")
    written = arguments.output if to_checkpoint else arguments.output / WEIGHTS_FILE
    if written.exists() and not arguments.overwrite:
        raise OutputError(f"{written} exists already; add --overwrite or choose another output")

    network, description = _read(arguments)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    config = network.config
    echo(
        f"{arguments.model}: {_shape_name(config)}, {parameters:,} parameters, {config.experts} experts, "
        f"top-k {config.top_k}"
    )
    if to_checkpoint:
        save_published(network, written)
        if config.top_k != 1:
            echo(f"the published layout does not hold top-k; read this file again with --top-k {config.top_k}")
    else:
        save(network, arguments.output, description, dtype=torch.float16 if arguments.half else torch.float32)
    echo(f"wrote {written}: {written.stat().st_size / 1e6:.1f} MB, sha256 {sha256(written)}")


def _read(arguments: ConvertArguments) -> tuple[MoCEIR, ModelFile]:
    source = resolve(arguments.model)
    if source.is_dir():
        return load(arguments.model), read_description(source)
    network = from_published(read_checkpoint(source), top_k=arguments.top_k or 1, origin=str(source))
    provenance = {"converted_from": source.name, "sha256": sha256(source)}
    return network, ModelFile(model=network.config, license=arguments.license, provenance=provenance)


def _shape_name(config: ModelConfig) -> str:
    """Return the preset that a network has the shape of, or its blocks if there is none."""
    unshaped = {"top_k": 1, "complexity_bias": True, "join": "published", "gate": "softmax"}
    plain = config.model_copy(update=unshaped)
    names = [f"preset {name}" for name, preset in PRESETS.items() if preset == plain]
    blocks = ", ".join(map(str, config.depths))
    return names[0] if names else f"no preset (dim {config.dim}, blocks {blocks})"
