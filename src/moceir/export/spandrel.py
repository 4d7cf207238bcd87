"""MoCE-IR for spandrel, the library that ComfyUI, chaiNNer and others load models with.

spandrel finds out what a file holds by the names and shapes in it; ``config.json`` it does not see. So what neither
tells is taken as the published models have it: one expert per image, and softmax gates.
"""

from __future__ import annotations

from collections.abc import Mapping

from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling
from torch import Tensor

from moceir.models.execution import for_inference
from moceir.models.network import MoCEIR
from moceir.weights.published import from_published, infer_config, published_key
from moceir.weights.tensors import fill

OURS = ("patch_embed.weight", "frequency_embedding.high_pass.weight")
PUBLISHED = tuple(map(published_key, OURS))
"""Names that are in every file of one layout."""


def install() -> None:
    """Let spandrel load MoCE-IR networks; to call it again changes nothing."""
    if MoCEIRArchitecture.ID not in MAIN_REGISTRY:
        MAIN_REGISTRY.add(ArchSupport.from_architecture(MoCEIRArchitecture()))


class MoCEIRArchitecture(Architecture[MoCEIR]):
    """Recognises and loads our safetensors and published checkpoints, with or without Lightning's ``net.`` prefix."""

    ID = "MoCEIR"

    def __init__(self) -> None:
        super().__init__(id=self.ID, name="MoCE-IR", detect=lambda state: _is_ours(state) or _is_published(state))

    def load(self, state_dict: Mapping[str, Tensor]) -> ImageModelDescriptor[MoCEIR]:
        """Build the network that a state dict belongs to.

        Raises:
            WeightsError: If the tensors do not fit together.
        """
        network = _from_ours(state_dict) if _is_ours(state_dict) else from_published(state_dict)
        config = network.config
        return ImageModelDescriptor(
            for_inference(network),  # less memory, and sums that float16 does not overflow
            dict(network.state_dict()),
            architecture=self,
            purpose="Restoration" if config.scale == 1 else "SR",
            tags=[f"{config.dim}dim", f"{config.experts}experts"],
            supports_half=True,
            supports_bfloat16=True,
            scale=config.scale,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.INTERNAL,  # tiles of one picture would be routed each on its own
        )


def _is_ours(state: Mapping[str, object]) -> bool:
    return all(name in state for name in OURS)


def _is_published(state: Mapping[str, object]) -> bool:
    return any(all(prefix + name in state for name in PUBLISHED) for prefix in ("", "net."))


def _from_ours(state: Mapping[str, Tensor]) -> MoCEIR:
    config = infer_config({published_key(key): value for key, value in state.items()}, origin="the file")
    if any(key.endswith(".added.weight") for key in state):
        config = config.model_copy(update={"join": "added"})
    elif any(key.endswith(".cross.k.weight") for key in state):
        config = config.model_copy(update={"join": "values"})
    network = MoCEIR(config)
    fill(network, state, "the file")
    return network.eval()
