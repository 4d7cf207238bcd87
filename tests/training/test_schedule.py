"""Learning rate, stages and the end of a run as functions of progress."""

import math
from types import SimpleNamespace

import pytest

from moceir.recipe import OptimizerConfig, StageConfig
from moceir.training import schedule
from moceir.training.schedule import ScheduleCallback, learning_rate, stage_at, stretch_rate

OPTIMIZER = OptimizerConfig(lr=1e-3, final_lr=1e-6, warmup_share=0.1)


def test_warm_up_starts_above_zero_and_reaches_the_peak() -> None:
    rates = [learning_rate(OPTIMIZER, p / 1000) for p in range(101)]
    assert rates[0] > 0
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(1e-3)


def test_the_decay_is_half_a_cosine() -> None:
    assert learning_rate(OPTIMIZER, 0.55) == pytest.approx((1e-3 + 1e-6) / 2)
    quarter = 1e-6 + (1e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi / 4))
    assert learning_rate(OPTIMIZER, 0.325) == pytest.approx(quarter)
    assert learning_rate(OPTIMIZER, 1.0) == pytest.approx(1e-6)


def test_only_the_first_stretch_warms_up_and_all_decay_to_zero() -> None:
    config = OptimizerConfig(lr=1e-3, warmup_share=0.1, schedule="stretches", decay_share=0.2)
    first, later = ([stretch_rate(config, p / 1000, first=f) for p in range(1001)] for f in (True, False))
    assert 0 < first[0] < 1e-4
    assert first[:100] == sorted(first[:100])
    assert later[:801] == [1e-3] * 801
    assert first[100:] == later[100:]
    assert later[850] == pytest.approx(1e-3 * (1 - math.sqrt(0.25)))
    assert later[800:] == sorted(later[800:], reverse=True)
    assert later[-1] == pytest.approx(0, abs=1e-12)


def test_stages_follow_their_shares() -> None:
    stages = tuple(StageConfig(share=s, patch_px=p, batch=1) for s, p in ((0.5, 64), (0.3, 96), (0.2, 128)))
    sizes = [stage_at(stages, p).patch_px for p in (0, 0.49, 0.5, 0.79, 0.8, 0.99, 1.0)]
    assert sizes == [64, 64, 96, 96, 128, 128, 128]


class FakeTrainer:
    """As much of a trainer as the callback sees: one process of several, the first of which has its own clock."""

    def __init__(self, first_clock: float | None = None) -> None:
        self.strategy = SimpleNamespace(broadcast=lambda own: own if first_clock is None else first_clock)
        self.global_step = 0
        self.should_stop = False
        self.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.0}])]

    def step(self, callback: ScheduleCallback) -> None:
        module = SimpleNamespace(log=lambda *_: None)
        callback.on_train_batch_start(self, module, None, 0)  # type: ignore[arg-type]
        self.global_step += 1
        callback.on_train_batch_end(self, module, None, None, 0)  # type: ignore[arg-type]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one number that the clock shows, in seconds."""
    shown = [100.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: shown[0])
    return shown


def test_progress_is_the_larger_of_steps_and_time(now: list[float]) -> None:
    trainer = FakeTrainer()
    callback = ScheduleCallback(OPTIMIZER, steps=10, max_seconds=50)
    callback.on_train_start(None, None)  # type: ignore[arg-type]
    trainer.step(callback)
    assert callback.progress(0) == 0
    assert callback.progress(5) == 0.5
    now[0] = 110.0
    trainer.step(callback)
    assert callback.progress(0) == 0, "what the first step took, which may compile, is no progress"
    now[0] = 142.0
    trainer.step(callback)
    assert callback.progress(5) == pytest.approx(0.8), "32 of the 40 seconds left"
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(learning_rate(OPTIMIZER, 0.8))
    resumed = ScheduleCallback(OPTIMIZER, steps=10, max_seconds=50)
    resumed.load_state_dict(callback.state_dict())
    assert resumed.progress(0) == pytest.approx(0.8)
    resumed.on_train_start(None, None)  # type: ignore[arg-type]
    now[0] = 200.0
    assert not trainer.should_stop
    trainer.step(resumed)
    assert resumed.progress(0) == 1
    assert trainer.should_stop


def test_a_first_step_beyond_the_budget_leaves_nothing_to_do(now: list[float]) -> None:
    trainer = FakeTrainer()
    callback = ScheduleCallback(OPTIMIZER, steps=10, max_seconds=50)
    callback.on_train_start(None, None)  # type: ignore[arg-type]
    trainer.step(callback)
    now[0] = 160.0
    trainer.step(callback)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-6)
    assert trainer.should_stop


def test_all_processes_follow_the_clock_of_the_first() -> None:
    trainer = FakeTrainer(first_clock=30.0)
    callback = ScheduleCallback(OPTIMIZER, steps=10, max_seconds=50)
    callback.on_train_start(None, None)  # type: ignore[arg-type]
    trainer.step(callback)
    assert callback.progress(0) == pytest.approx(0.6)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(learning_rate(OPTIMIZER, 0.6))
