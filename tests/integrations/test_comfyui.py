"""The node for ComfyUI, loaded and called as ComfyUI does."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from moceir import MoCEIR, Restorer, load
from moceir.errors import ImageError, WeightsError

NODE = Path(__file__).parents[2] / "integrations" / "comfyui"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Any]]:
    """The class, imported from a folder in ``custom_nodes`` under the name that ComfyUI gives it: its path."""
    folder = tmp_path_factory.mktemp("ComfyUI") / "custom_nodes" / "moceir"
    shutil.copytree(NODE, folder)
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    ((identifier, found),) = module.NODE_CLASS_MAPPINGS.items()
    assert module.NODE_DISPLAY_NAME_MAPPINGS[identifier] == "Restore photo (MoCE-IR)"
    yield found
    del sys.modules[name]


def defaults(node: type[Any]) -> dict[str, Any]:
    """What the widgets of a new node hold."""
    return {name: given[1]["default"] for name, given in node.INPUT_TYPES()["required"].items() if name != "image"}


def call(node: type[Any], image: Tensor, **changes: Any) -> Tensor:
    """Run a new node, as ComfyUI does: by the name of its function, with keywords and without gradients."""
    with torch.inference_mode():
        (restored,) = getattr(node(), node.FUNCTION)(image=image, **(defaults(node) | changes))
    return restored


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def alone(network: MoCEIR, image: Tensor) -> Tensor:
    """What the plain network makes of each ``(H, W, 3)`` image by itself."""
    with torch.no_grad():
        return torch.stack([network(picture.permute(2, 0, 1)[None])[0].permute(1, 2, 0) for picture in image])


def test_what_it_tells_comfyui(node: type[Any]) -> None:
    inputs = node.INPUT_TYPES()
    assert list(inputs) == ["required"]
    kinds = {name: given[0] for name, given in inputs["required"].items()}
    assert kinds == {
        "image": "IMAGE",
        "model": "STRING",
        "strength": "FLOAT",
        "keep_tones": "BOOLEAN",
        "effort": ["low", "auto", "high"],
    }
    assert node.RETURN_TYPES == ("IMAGE",)
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES)
    for name, (_, *widget) in inputs["required"].items():
        assert name == "image" or widget[0]["tooltip"]


@pytest.mark.parametrize("size", [(33, 50), (1, 1)])
def test_a_batch_gives_each_image_what_it_gets_alone(node: type[Any], size: tuple[int, int]) -> None:
    image = images(3, *size, 3)
    given = image.clone()
    restored = call(node, image)
    assert torch.equal(image, given)
    assert (restored.dtype, restored.device) == (image.dtype, image.device)
    torch.testing.assert_close(restored, alone(load("tiny"), image).clamp(0, 1), atol=1e-4, rtol=0)


def test_a_model_by_its_path(node: type[Any], golden: Path) -> None:
    path = golden / "nano_lightning.ckpt"
    image = images(1, 24, 40, 3)
    expected = alone(load(path), image).clamp(0, 1)
    torch.testing.assert_close(call(node, image, model=str(path)), expected, atol=1e-4, rtol=0)


def test_strength(node: type[Any]) -> None:
    image = images(1, 24, 40, 3)
    torch.testing.assert_close(call(node, image, strength=0.0), image, atol=1e-6, rtol=0)
    middle = (image + call(node, image)) / 2
    torch.testing.assert_close(call(node, image, strength=0.5), middle, atol=1e-5, rtol=0)


@pytest.mark.parametrize("change", [{"keep_tones": True}, {"effort": "low"}, {"effort": "high"}])
def test_options_reach_the_restorer(node: type[Any], change: dict[str, Any]) -> None:
    image = images(1, 40, 56, 3) * 0.3
    expected = Restorer.from_pretrained("tiny", **change).restore(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(call(node, image, **change), expected, atol=1e-5, rtol=0)


def test_tones_are_kept_only_if_asked(node: type[Any]) -> None:
    image = images(1, 64, 64, 3) * 0.1
    darkness = [abs(float(call(node, image, keep_tones=keep).mean() - image.mean())) for keep in (True, False)]
    assert darkness[0] < darkness[1]


def test_alpha_and_gray(node: type[Any]) -> None:
    rgba = images(2, 20, 30, 4)
    restored = call(node, rgba)
    assert torch.equal(restored[..., 3], rgba[..., 3])
    torch.testing.assert_close(restored[..., :3], call(node, rgba[..., :3]), atol=1e-5, rtol=0)
    gray = images(1, 20, 30, 1)
    assert call(node, gray).shape == gray.shape


def test_values_that_other_nodes_leave(node: type[Any]) -> None:
    image = images(1, 16, 16, 3) * 1.4 - 0.2
    assert torch.equal(call(node, image), call(node, image.clamp(0, 1)))
    half = call(node, images(1, 16, 16, 3).half())
    assert half.dtype == torch.float16


def test_errors_say_what_to_do(node: type[Any]) -> None:
    with pytest.raises(WeightsError, match=r"there is no model 'nowhere'.*tiny"):
        call(node, images(1, 8, 8, 3), model="nowhere")
    with pytest.raises(ImageError, match="expected an array"):
        call(node, images(1, 8, 8, 2))
