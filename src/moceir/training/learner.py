"""A training step without synchronisation: losses, gradients, clipping, AdamW and weight averaging.

A step never waits for the device: learning rate, losses and the count of bad steps are tensors on it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from moceir.data.synthesis import Sample
from moceir.models.network import MoCEIR
from moceir.recipe import Recipe
from moceir.training.losses import Losses, joint_balance, restoration_losses
from moceir.training.state import TrainingState
from moceir.training.team import Team


class Learner:
    """The network, its optimiser and its averaged weights.

    Args:
        network: Network to train; moved to the device.
        recipe: Losses, optimiser, precision and averaging.
        device: Device to train on.
        team: Processes that share each batch.
    """

    def __init__(self, network: MoCEIR, recipe: Recipe, device: torch.device, team: Team) -> None:
        self.network = network.to(device).train()
        self.view = self.network
        """Network used for computation: it shares the parameters, but may use faster layers."""
        self.recipe = recipe
        self.device = device
        self.team = team
        self.steps = 0
        self.samples = 0
        self.rate = torch.zeros((), device=device)
        self.named = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        config = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=self.rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        for p in self.parameters:
            zero = torch.zeros((), device=device)
            self.optimizer.state[p] = {
                "step": zero,
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }
        # The fused optimiser skips the update if this is 1, without synchronising with the host.
        self.bad = torch.zeros((), device=device)
        optimizer: Any = self.optimizer
        optimizer.grad_scale, optimizer.found_inf = None, self.bad
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval() if recipe.ema_decay else None
        self._averaged = list(self.average.parameters()) if self.average else []
        self._update_average: Callable[..., None] | None = (
            get_ema_multi_avg_fn(recipe.ema_decay) if recipe.ema_decay else None
        )
        self.totals = torch.zeros(5, device=device)
        """Sums of total, L1, spectral and balance loss, and of skipped steps, since the last reading."""

    def step(self, batch: Sample, noise: Tensor) -> None:
        """Train on a batch.

        Args:
            batch: ``(B, 3, H, W)`` pairs on the device; this process's share if there are several.
            noise: Standard normal routing noise ``(blocks, B, n)``.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.losses(batch, noise)
        losses.total.backward()
        self.complete_gradients()
        limit = self.recipe.optimizer.clip_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, torch.inf if limit is None else limit)
        self.bad.copy_(~torch.isfinite(norm))
        self.optimizer.step()
        with torch.no_grad():
            if self._update_average is not None:
                self._update_average(self._averaged, list(self.network.parameters()), None)
            self.totals += torch.stack([*losses, self.bad]).detach()

    def complete_gradients(self) -> None:
        """Give every parameter the gradient of the joint batch, which is zero for experts that received no image."""
        for p in self.parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.team.average_gradients(self.parameters)

    def losses(
        self, batch: Sample, noise: Tensor, network: MoCEIR | None = None, precision: str | None = None
    ) -> Losses:
        """Compute the losses of a batch; spectra and sums are in float32.

        Args:
            batch: See ``step``.
            noise: See ``step``.
            network: Network to use instead of ``view``.
            precision: Precision to use instead of the recipe's.
        """
        network = network or self.view
        low = (precision or self.recipe.precision) == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            restored, decisions = network.restore_with_routing(batch.degraded, noise=noise)
        if self.team.size == 1:
            balance = torch.stack([decision.balance_loss for decision in decisions]).mean()
        else:
            logits = torch.stack([decision.logits.float() for decision in decisions])
            balance = joint_balance(network.routers(), self.team.gather(logits), self.team.gather(noise))
        return restoration_losses(restored, batch.clean, balance, self.recipe.loss)

    def read_totals(self) -> list[float]:
        """Return the sums since the last reading and reset them; waits for the device."""
        totals = self.totals.tolist()
        self.totals.zero_()
        return totals

    @property
    def result(self) -> MoCEIR:
        """Network to validate and save: the averaged weights if the recipe averages."""
        return self.network if self.average is None else self.average

    @contextmanager
    def nothing_kept(self) -> Generator[None]:
        """Restore weights, optimiser, average and sums at the end of the block."""
        kept = [self.rate, *self.network.state_dict().values(), *self._averaged, self.totals]
        kept += [value for p in self.parameters for value in self.optimizer.state[p].values()]
        copies = [value.detach().clone() for value in kept]
        try:
            yield
        finally:
            with torch.no_grad():
                for value, before in zip(kept, copies, strict=True):
                    value.copy_(before)

    def state(self, seconds: float) -> TrainingState:
        """Return everything that a further stretch needs; the tensors are not copied."""
        return TrainingState(
            model=self.network.config,
            recipe=self.recipe.model_dump(mode="json"),
            steps=self.steps,
            samples=self.samples,
            seconds=seconds,
            weights=self.network.state_dict(),
            average=self.average.state_dict() if self.average is not None else {},
            means={name: self.optimizer.state[p]["exp_avg"] for name, p in self.named.items()},
            squares={name: self.optimizer.state[p]["exp_avg_sq"] for name, p in self.named.items()},
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from a state of the same network."""
        self.network.load_state_dict(state.weights)
        if self.average is not None:
            self.average.load_state_dict(state.average or state.weights)
        for name, p in self.named.items():
            moments = self.optimizer.state[p]
            moments["step"].fill_(state.steps)
            for key, values in (("exp_avg", state.means), ("exp_avg_sq", state.squares)):
                if name in values:
                    moments[key].copy_(values[name])
        self.steps, self.samples = state.steps, state.samples
