"""Processes of one machine that share each batch: what they agree on, sum and gather."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.multiprocessing.spawn import start_processes

from moceir.errors import TrainingError

PATIENCE = timedelta(minutes=30)
"""How long processes wait for each other: one may decode photographs while another one is done."""


class Team:
    """The processes that train together, as one of them sees it. A team of one does nothing.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    def first_says(self, *values: float) -> list[float]:
        """Return the values that the first process passed, in all processes."""
        if self.size == 1:
            return list(values)
        agreed = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(agreed, 0)
        return agreed.tolist()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Stack the values of all processes, ``(processes, ...)``, with gradients flowing back to each."""
        if self.size == 1:
            return values[None]
        gathered: Any = _Gather.apply(values, self)
        return gathered

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace all gradients by their means over the processes."""
        if self.size == 1:
            return
        gradients: list[Any] = [parameter.grad for parameter in parameters]
        joint = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joint)
        joint /= self.size
        for gradient, mean in zip(gradients, joint.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class _Gather(torch.autograd.Function):
    """Values of all processes, of which all compute the same: then gradients need not travel."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, team: Team) -> Tensor:
        """Map ``(...)`` to ``(processes, ...)``."""
        ctx.team = team
        parts = [torch.empty_like(values) for _ in range(team.size)]
        dist.all_gather(parts, values.detach().contiguous())
        return torch.stack(parts)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - made static by torch, not typed so
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, None]:
        """Own part of the gradient, times the number of processes, whose mean is taken in the end."""
        return grads[0][ctx.team.rank] * ctx.team.size, None


def run_together(work: Callable[..., Any], size: int, *arguments: Any) -> Any:
    """Call ``work(team, *arguments)`` in several processes, of which this one is the first.

    Args:
        work: A function that other processes can import.
        size: How many processes.
        *arguments: What it gets; they must be picklable.

    Returns:
        What it returned here.

    Raises:
        TrainingError: If another process ended early. What ``work`` raises here is passed on.
    """
    if size == 1:
        return work(Team(), *arguments)
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, "meeting").as_uri()
        follow = (work, size, meeting, torch.get_num_threads(), arguments)
        others: Any = start_processes(_follow, follow, size - 1, join=False, start_method="spawn")
        try:
            dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=size, timeout=PATIENCE)
            result = work(Team(0, size), *arguments)
            while not others.join():
                pass
        except RuntimeError as error:
            raise TrainingError(f"the processes lost each other ({error}); see the messages above") from error
        finally:
            for process in others.processes:
                process.kill()
            if dist.is_initialized():
                dist.destroy_process_group()
    return result


def _follow(
    index: int, work: Callable[..., Any], size: int, meeting: str, threads: int, arguments: tuple[Any, ...]
) -> None:
    """Be one of the other processes."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=meeting, rank=index + 1, world_size=size, timeout=PATIENCE)
    try:
        work(Team(index + 1, size), *arguments)
    finally:
        dist.destroy_process_group()
