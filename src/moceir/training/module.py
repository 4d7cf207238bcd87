"""Lightning module with the training and validation steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from moceir.config import ModelConfig
from moceir.data.synthesis import Sample, sample_generator
from moceir.models.execution import for_inference, for_training
from moceir.models.execution.compilation import compiled_for_training
from moceir.models.network import MoCEIR
from moceir.models.routing import RoutingDecision
from moceir.recipe import Recipe
from moceir.training.losses import joint_balance, restoration_losses
from moceir.training.validation import judge


class RestorationModule(L.LightningModule):
    """The network with its losses, optimiser and validation scores.

    Args:
        recipe: The run's recipe.
        config: Configuration of the network.
        tasks: Task names, indexed by ``Sample.task``.
    """

    def __init__(self, recipe: Recipe, config: ModelConfig, tasks: Sequence[str]) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = MoCEIR(config)
        # Processes compare the memory layout of gradients, so set it before they connect.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - a gap in torch's stubs
        self.tasks = list(tasks)
        self.scores = torch.nn.ModuleList(MeanMetric() for _ in self.tasks)
        self.costs = torch.nn.ModuleList(MeanMetric() for _ in self.tasks)
        self.examples: dict[str, Tensor] = {}
        """First picture of each task in the last validation: degraded, restored and clean, ``(3, 3, H, W)``."""
        self.routes: dict[str, list[Tensor]] = defaultdict(list)
        """Experts chosen for each picture of a task in the last validation, each ``(blocks, k)``."""

    @cached_property
    def training_view(self) -> MoCEIR:
        """Network for training steps; created on the training device."""
        if self.recipe.compile:
            return compiled_for_training(self.network, sizes=len(self.recipe.stages))
        return for_training(self.network)

    @cached_property
    def inference_view(self) -> MoCEIR:
        """Network for validation steps."""
        return for_inference(self.network)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Compute the loss of one batch: L1 on pixels, L1 on spectra, and the balance of the experts."""
        noise = self._routing_noise(len(batch.clean), batch_idx)
        restored, decisions = self.training_view.restore_with_routing(batch.degraded, noise=noise)
        losses = restoration_losses(restored, batch.clean, self._balance(decisions, noise), self.recipe.loss)
        self.log_dict({f"loss/{name}": value for name, value in losses._asdict().items()}, on_epoch=False)
        return losses.total

    def _routing_noise(self, images: int, batch_idx: int) -> Tensor:
        """Draw noise ``(blocks, B, n)`` that depends only on seed and step, so that resuming does not change a run.

        Each process draws the noise of the joint batch and takes its share in the order in which the loader distributes
        the samples, so that several processes compute the same as one process with the joint batch.
        """
        config, world = self.network.config, self.trainer.world_size
        part = batch_idx % self.recipe.accumulate
        generator = sample_generator(self.recipe.seed, "routing", self.global_step, part)
        noise = torch.randn(config.routed_blocks, images * world, config.experts, generator=generator)
        return noise[:, self.global_rank :: world].to(self.device)

    def _balance(self, decisions: Sequence[RoutingDecision], noise: Tensor) -> Tensor:
        """Compute the mean balance loss of the routers over the batches of all processes."""
        if self.trainer.world_size == 1:
            return torch.stack([decision.balance_loss for decision in decisions]).mean()
        own = torch.stack([decision.logits.float() for decision in decisions])
        logits: Any = self.all_gather(own, sync_grads=True)
        noises: Any = self.all_gather(noise)
        return joint_balance(self.network.routers(), logits, noises)

    def on_validation_epoch_start(self) -> None:
        """Clear the pictures and routes of the last validation."""
        self.examples.clear()
        self.routes.clear()

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect the PSNR and route of each picture by task."""
        restored, scores, decisions = judge(self.inference_view, batch)
        chosen = torch.stack([decision.experts for decision in decisions])
        cost = torch.stack(
            [r.complexity[experts].sum(-1) for r, experts in zip(self.network.routers(), chosen, strict=True)]
        ).mean(dim=0)
        for number, task in enumerate(batch.task.tolist()):
            metrics: Any = (self.scores[task], self.costs[task])
            metrics[0].update(scores[number])
            metrics[1].update(cost[number])
            name = self.tasks[task]
            self.routes[name].append(chosen[:, number].cpu())
            if name not in self.examples:
                views = (batch.degraded[number], restored[number], batch.clean[number])
                self.examples[name] = torch.stack(views).cpu()

    def on_validation_epoch_end(self) -> None:
        """Log the mean of each task and of all tasks."""
        for label, metrics in (("psnr_db", self.scores), ("route_cost", self.costs)):
            means: list[Tensor] = []
            for task, metric in zip(self.tasks, metrics, strict=True):
                collected: Any = metric
                means.append(collected.compute())  # over all processes
                self.log(f"val/{label}/{task}", means[-1], sync_dist=True)
                collected.reset()
            self.log(f"val/{label}", torch.stack(means).mean(), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Create the AdamW optimiser; the schedule callback sets its learning rate at each step."""
        config = self.recipe.optimizer
        trained = [p for p in self.network.parameters() if p.requires_grad]
        # Lightning cannot clip gradients if the fused optimiser also unscales them in mixed precision.
        fused = self.recipe.precision == "float32" or config.clip_norm is None
        return torch.optim.AdamW(
            trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=fused
        )
