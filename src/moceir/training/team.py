"""Data-parallel processes on one machine, and the communication between them."""

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
"""Time that processes wait for each other; one may still decode photographs while another is ready."""


class Team:
    """Group of processes that train together; with a single process, all operations are trivial.

    Attributes:
        rank: Index of this process, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    def first_says(self, *values: float) -> list[float]:
        """Return the values of the first process in all processes."""
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
        """Stack the values of all processes to ``(processes, ...)``; gradients flow back to each process."""
        if self.size == 1:
            return values[None]
        gathered: Any = _Gather.apply(values, self)
        return gathered

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace all gradients with their means over the processes."""
        if self.size == 1:
            return
        gradients: list[Any] = [parameter.grad for parameter in parameters]
        joint = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joint)
        joint /= self.size
        for gradient, mean in zip(gradients, joint.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


class _Gather(torch.autograd.Function):
    """Gather for a computation that is the same in all processes, so gradients need no communication."""

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
        """Return this process's part of the gradient, times the number of processes to offset the later mean."""
        return grads[0][ctx.team.rank] * ctx.team.size, None


def run_together(work: Callable[..., Any], size: int, *arguments: Any) -> Any:
    """Call ``work(team, *arguments)`` in several processes; this process is the first.

    Args:
        work: Function that other processes can import.
        size: Number of processes.
        *arguments: Picklable arguments of ``work``.

    Returns:
        Result of ``work`` in this process.

    Raises:
        TrainingError: If another process ended early. Other exceptions of ``work`` in this process propagate.
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
    """Run ``work`` as one of the other processes."""
    torch.set_num_threads(threads)
    dist.init_process_group("gloo", init_method=meeting, rank=index + 1, world_size=size, timeout=PATIENCE)
    try:
        work(Team(index + 1, size), *arguments)
    finally:
        dist.destroy_process_group()
