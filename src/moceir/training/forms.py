"""Implementations (forms) of a training step, from fastest to safest, and the check each must pass before use.

The check compares the gradients of one batch with those of the plain network in float32. If a form fails to build or
its gradients differ, the next safer form is tried. The last form is the plain step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from moceir.data.synthesis import Sample
from moceir.models.execution import for_training
from moceir.models.execution.compilation import compile_layers
from moceir.models.execution.device import faster_class
from moceir.models.execution.views import view
from moceir.training.learner import Learner

Step = Callable[[Sample, Tensor], None]
"""A function that trains on a batch and its routing noise."""

AGREEMENT = {"float32": (0.999, 0.999), "bfloat16": (0.98, 0.95)}
"""Minimum cosine similarity of the gradients, over all parameters and per block. In bfloat16, even the plain step of
``tiny`` reaches only 0.993 and 0.979 (16 patches of 128 px), so only gross errors can be told from rounding."""

MOST_FOR_GATE = 16
"""Pairs whose gradients are compared."""

WARM_UP_STEPS = 3
"""Steps before a CUDA graph is captured, in which libraries choose kernels and reserve memory."""


class Form(NamedTuple):
    """Implementation of a training step.

    Attributes:
        adapted: Whether to use the layers of ``models.execution.device``.
        compiled: Whether to compile parts of the network.
        graph: Whether to capture the step as one CUDA graph, so that it needs a single launch.
    """

    adapted: bool = False
    compiled: bool = False
    graph: bool = False

    def __str__(self) -> str:
        """Return a readable name."""
        parts = {"device layers": self.adapted, "compiled": self.compiled, "one CUDA graph": self.graph}
        return ", ".join(name for name, used in parts.items() if used) or "plain"


PLAIN = Form()


def forms_for(device: torch.device, *, compiled: bool, adapted: bool = False) -> tuple[Form, ...]:
    """List the forms that a device can use, fastest first; the plain one is always the last.

    Args:
        device: Device that the step runs on.
        compiled: Whether to try forms that need a compiler.
        adapted: Whether to try device layers first; they take much longer to compile.
    """
    graphs = (True, False) if device.type == "cuda" else (False,)
    forms = [
        Form(layers, compiler, graph) for compiler in (True, False) for layers in (True, False) for graph in graphs
    ]
    wanted = [form for form in forms if (compiled or not form.compiled) and (adapted or not form.adapted)]
    # Device layers are faster only if a compiler fuses them.
    return tuple(form for form in wanted if form.compiled or not form.adapted)


def choose_step(
    learner: Learner, batch: Sample, noise: Tensor, forms: Sequence[Form], say: Callable[[str], object]
) -> Step:
    """Build the first form whose gradients are correct.

    Args:
        learner: Learner to build the step for; the trial steps do not change it.
        batch: A batch with the same shape as all later ones.
        noise: Routing noise of the batch.
        forms: Forms to try in order; the last one is used without a check.
        say: Called with messages about the choice.
    """
    reference: dict[str, Tensor] = {}
    few, few_noise, times = _few(batch, noise)
    repeated = Sample(*(part.repeat(times, *[1] * (part.ndim - 1)) for part in few))
    repeated_noise = few_noise.repeat(1, times, 1)
    for form in forms[:-1]:
        reference = reference or plain_gradients(learner, few, few_noise)
        say(f"preparing a step: {form}")
        try:
            step = build(learner, form)
            whole, worst = _trial(learner, step, repeated, repeated_noise, reference)
        except Exception as error:  # noqa: BLE001 - compilers raise anything, and the next form may work
            reason = str(error).strip().splitlines() or [type(error).__name__]
            say(f"step not {form}: {reason[0][:200]}")
            continue
        found = f"gradients agree with the plain ones by {whole:.4f}, {worst[0]} by {worst[1]:.4f}"
        least_whole, least_block = AGREEMENT[learner.recipe.precision]
        if whole >= least_whole and worst[1] >= least_block:
            say(f"step: {form} ({found})")
            return step
        say(f"step not {form}: {found}")
    if len(forms) > 1:
        say(f"step: {forms[-1]}")
    return build(learner, forms[-1])


def _few(batch: Sample, noise: Tensor) -> tuple[Sample, Tensor, int]:
    """Return the first pairs of a batch, their noise, and how many repetitions fill the batch.

    All losses are means or ratios, so repeating the pairs does not change the gradients. A few pairs leave enough
    memory for the plain network in float32.
    """
    size = len(batch.clean)
    few = max(count for count in range(1, min(size, MOST_FOR_GATE) + 1) if size % count == 0)
    return Sample(*(part[:few] for part in batch)), noise[:, :few], size // few


def plain_gradients(learner: Learner, batch: Sample, noise: Tensor) -> dict[str, Tensor]:
    """Compute the gradients of the plain network in float32, by parameter name."""
    learner.optimizer.zero_grad(set_to_none=True)
    learner.losses(batch, noise, learner.network, "float32").total.backward()
    learner.complete_gradients()
    found = {name: p.grad.clone() for name, p in learner.named.items() if p.grad is not None}
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.device.type == "cuda":
        torch.cuda.empty_cache()  # a captured step needs its own memory
    return found


def agreement(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> tuple[float, tuple[str, float]]:
    """Compare two sets of gradients by cosine similarity.

    Returns:
        Similarity over all parameters, and the block with the lowest similarity with its value. NaN counts as -1.
    """
    blocks: dict[str, list[str]] = {}
    for name in theirs:
        blocks.setdefault(_block_of(name), []).append(name)

    def cosine(names: Sequence[str]) -> float:
        one, other = (torch.cat([g[name].flatten().double() for name in names]) for g in (ours, theirs))
        if not one.any() and not other.any():
            return 1.0
        value = F.cosine_similarity(one, other, dim=0).item()
        return value if value == value else -1.0

    of_blocks = {block: cosine(names) for block, names in blocks.items()}
    worst = min(of_blocks, key=lambda block: of_blocks[block])
    return cosine(list(theirs)), (worst, of_blocks[worst])


def _block_of(name: str) -> str:
    """Return the block of a parameter, for example ``encoder.0.blocks.1``; for other parameters the network part."""
    parts = name.split(".")
    if "blocks" in parts:
        return ".".join(parts[: parts.index("blocks") + 2])
    return ".".join(parts[:3] if parts[0] in ("encoder", "decoder") else parts[:2])


def build(learner: Learner, form: Form) -> Step:
    """Switch a learner to a form and return its step."""
    network = for_training(learner.network, fixed_shapes=form.compiled or form.graph)
    if form.adapted:
        network = view(network, faster_class)
    if form.compiled:
        compile_layers(network, sizes=1)
    learner.view = network
    learner.optimizer.zero_grad(set_to_none=True)
    return _Recorded(learner) if form.graph else learner.step


def _trial(
    learner: Learner, step: Step, batch: Sample, noise: Tensor, reference: Mapping[str, Tensor]
) -> tuple[float, tuple[str, float]]:
    """Take a step, compare its gradients with the reference, and undo it."""
    with learner.nothing_kept():
        learner.rate.zero_()
        step(batch, noise)
        ours = {name: p.grad for name, p in learner.named.items()}
        return agreement({name: g for name, g in ours.items() if g is not None}, reference)


class _Recorded:
    """A step that is captured as a CUDA graph on its first call and replayed afterwards."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, batch: Sample, noise: Tensor) -> None:
        inputs = [batch.degraded, batch.clean, noise]
        if self._graph is None:
            self._record(inputs, batch.task)
        for place, value in zip(self._inputs, inputs, strict=True):
            place.copy_(value, non_blocking=True)
        self._graph.replay()  # pyright: ignore[reportOptionalMemberAccess] - recorded above

    def _record(self, inputs: Sequence[Tensor], task: Tensor) -> None:
        """Capture the graph; the learning rate must be 0, because the warm-up steps update the weights."""
        self._inputs = [value.clone() for value in inputs]
        degraded, clean, noise = self._inputs
        static = Sample(degraded, clean, task)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                self._learner.step(static, noise)
        torch.cuda.current_stream().wait_stream(aside)
        self._learner.optimizer.zero_grad(set_to_none=True)  # gradients must be in the graph's own memory
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._learner.step(static, noise)
