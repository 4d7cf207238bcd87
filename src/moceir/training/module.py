"""What one step of training and of validation computes."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from moceir.config import ModelConfig
from moceir.data.synthesis import Sample, sample_generator
from moceir.losses import l1_loss, spectral_l1_loss
from moceir.metrics import psnr_db
from moceir.models.network import MoCEIR
from moceir.recipe import Recipe


class RestorationModule(L.LightningModule):
    """The network with its losses, optimiser and validation scores.

    Args:
        recipe: The run's recipe.
        config: The network's shape.
    """

    def __init__(self, recipe: Recipe, config: ModelConfig) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = MoCEIR(config)
        self.tasks = list(recipe.tasks)
        self.scores = torch.nn.ModuleList(MeanMetric() for _ in self.tasks)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Loss of one batch: L1, its spectrum, and the balance of the experts."""
        weights = self.recipe.loss
        restored, decisions = self.network.restore_with_routing(batch.degraded, self._routing_noise(len(batch.clean)))
        l1 = l1_loss(restored, batch.clean)
        fft = spectral_l1_loss(restored, batch.clean)
        balance = torch.stack([decision.balance_loss for decision in decisions]).mean()
        loss = l1 + weights.fft * fft + weights.balance * balance
        self.log_dict({"loss/total": loss, "loss/l1": l1, "loss/fft": fft, "loss/balance": balance}, on_epoch=False)
        return loss

    def _routing_noise(self, images: int) -> Tensor:
        """Noise that depends on the seed and the step alone, so that a resumed run goes on as if never stopped."""
        config = self.network.config
        generator = sample_generator(self.recipe.seed, "routing", self.global_step, self.global_rank)
        noise = torch.randn(sum(config.decoder_blocks), images, config.experts, generator=generator)
        return noise.to(self.device)

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect the PSNR of each picture under its task."""
        scores = psnr_db(self.network(batch.degraded).clamp(0, 1), batch.clean).clamp_max(60.0)
        for task, score in zip(batch.task.tolist(), scores, strict=True):
            metric: Any = self.scores[task]
            metric.update(score)

    def on_validation_epoch_end(self) -> None:
        """Report the mean of each task and of all tasks."""
        means: list[Tensor] = []
        for task, metric in zip(self.tasks, self.scores, strict=True):
            collected: Any = metric
            means.append(collected.compute())
            self.log(f"val/psnr_db/{task}", means[-1])
            collected.reset()
        self.log("val/psnr_db", torch.stack(means).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the schedule callback sets its learning rate at each step."""
        config = self.recipe.optimizer
        trained = [p for p in self.network.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            trained, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
