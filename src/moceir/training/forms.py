"""Forms of a training step, from the fastest to the safest, and the gate that each must pass before it is used.

The gradients of one batch are compared with those of the plain network in float32. A form that fails to build, or whose
gradients differ, gives way to the next safer one. The last form is the plain step.
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
"""Learns from a batch and its routing noise."""

AGREEMENT = {"float32": (0.999, 0.999), "bfloat16": (0.98, 0.95)}
"""Least cosine between gradients, of all parameters and of each block. In bfloat16, the plain step of `tiny` itself
reaches 0.993 and 0.979 (16 patches of 128 px), so that only coarse errors can be told from rounding."""

MOST_FOR_GATE = 16
"""Pairs whose gradients are compared."""

WARM_UP_STEPS = 3
"""Steps before a CUDA graph is recorded: libraries choose their kernels and reserve memory in them."""


class Form(NamedTuple):
    """How a step is computed.

    Attributes:
        adapted: With the layers of ``models.execution.device``.
        compiled: With compiled parts.
        graph: Recorded as one CUDA graph, which leaves nothing to launch but itself.
    """

    adapted: bool = False
    compiled: bool = False
    graph: bool = False

    def __str__(self) -> str:
        """Name the form for people."""
        parts = {"device layers": self.adapted, "compiled": self.compiled, "one CUDA graph": self.graph}
        return ", ".join(name for name, used in parts.items() if used) or "plain"


PLAIN = Form()


def forms_for(device: torch.device, *, compiled: bool, adapted: bool = False) -> tuple[Form, ...]:
    """List the forms that a device can use, fastest first; the plain one is always the last.

    Args:
        device: Where the step is computed.
        compiled: Whether to try forms that need a compiler.
        adapted: Whether to try device layers first. They take the compiler much longer.
    """
    graphs = (True, False) if device.type == "cuda" else (False,)
    forms = [
        Form(layers, compiler, graph) for compiler in (True, False) for layers in (True, False) for graph in graphs
    ]
    wanted = [form for form in forms if (compiled or not form.compiled) and (adapted or not form.adapted)]
    # Device layers pay only where a compiler fuses them.
    return tuple(form for form in wanted if form.compiled or not form.adapted)


def choose_step(
    learner: Learner, batch: Sample, noise: Tensor, forms: Sequence[Form], say: Callable[[str], object]
) -> Step:
    """Build the first form whose gradients are right.

    Args:
        learner: What learns; nothing of the trial steps is kept.
        batch: A batch of the shape of all to come.
        noise: Its routing noise.
        forms: To be tried in this order; the last one is taken as it is.
        say: Told what was chosen and why.
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
    """The first pairs of a batch, and how often they fill it.

    All losses are means or ratios, so the gradients of the repeated pairs are those of the few, for which the plain
    network in float32 has memory enough.
    """
    size = len(batch.clean)
    few = max(count for count in range(1, min(size, MOST_FOR_GATE) + 1) if size % count == 0)
    return Sample(*(part[:few] for part in batch)), noise[:, :few], size // few


def plain_gradients(learner: Learner, batch: Sample, noise: Tensor) -> dict[str, Tensor]:
    """Compute the gradients of the plain network in float32, by parameter."""
    learner.optimizer.zero_grad(set_to_none=True)
    learner.losses(batch, noise, learner.network, "float32").total.backward()
    learner.complete_gradients()
    found = {name: p.grad.clone() for name, p in learner.named.items() if p.grad is not None}
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.device.type == "cuda":
        torch.cuda.empty_cache()  # a recorded step takes memory of its own
    return found


def agreement(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> tuple[float, tuple[str, float]]:
    """Compare gradients by parameter.

    Returns:
        The cosine between all of them, and the block that agrees least with its cosine. NaN counts as -1.
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
    """``encoder.0.blocks.1`` for its parameters, ``latent.2`` likewise; other parts of the network by their name."""
    parts = name.split(".")
    if "blocks" in parts:
        return ".".join(parts[: parts.index("blocks") + 2])
    return ".".join(parts[:3] if parts[0] in ("encoder", "decoder") else parts[:2])


def build(learner: Learner, form: Form) -> Step:
    """Make a learner compute in a form; returns its step."""
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
    """Take a step that changes nothing, and compare its gradients."""
    with learner.nothing_kept():
        learner.rate.zero_()
        step(batch, noise)
        ours = {name: p.grad for name, p in learner.named.items()}
        return agreement({name: g for name, g in ours.items() if g is not None}, reference)


class _Recorded:
    """A step that is recorded as a CUDA graph at its first call and replayed from then on."""

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
        """Record; the weights must stand still meanwhile (rate 0), since the steps before the recording do count."""
        self._inputs = [value.clone() for value in inputs]
        degraded, clean, noise = self._inputs
        static = Sample(degraded, clean, task)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP_STEPS):
                self._learner.step(static, noise)
        torch.cuda.current_stream().wait_stream(aside)
        self._learner.optimizer.zero_grad(set_to_none=True)  # so that gradients lie in the graph's own memory
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._learner.step(static, noise)
