"""Schedule, batch order and dropout's seeds as pure functions; the head-only baseline."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ptv2_scale.config import Classification, Train
from ptv2_scale.data.collate import Example
from ptv2_scale.data.order import Group
from ptv2_scale.engine.head_baseline import ExampleFeatures, train_head
from ptv2_scale.engine.schedule import learning_rate
from ptv2_scale.engine.trainer import BatchOrder, seed_step
from ptv2_scale.tasks.heads import LinearHead
from ptv2_scale.tasks.registry import build_task

ALL = (Group(tuple(range(23)), 23.0),)


def rates(total: int = 100, **keys: object) -> list[float]:
    train = Train.model_validate({"lr": 2.0, "steps": total, **keys})
    return [learning_rate(train, step, total, steps_per_epoch=10) for step in range(total)]


@pytest.mark.parametrize("warmup", [0.2, 20])
def test_warmup_rises_linearly_and_linear_decay_ends_at_nothing(warmup: float) -> None:
    found = rates(warmup=warmup)
    assert found[:20] == pytest.approx([2.0 * (step + 1) / 20 for step in range(20)])
    assert found[20:] == pytest.approx([2.0 * (100 - step) / 80 for step in range(20, 100)])


def test_schedules_have_their_closed_forms() -> None:
    assert rates(schedule="constant") == [2.0] * 100
    assert rates(schedule="cosine") == pytest.approx(
        [1.0 + math.cos(math.pi * step / 100) for step in range(100)]
    )
    assert rates(schedule="exponential", decay=0.5) == pytest.approx(
        [2.0 * 0.5 ** (step // 10) for step in range(100)]
    )


def test_linear_schedule_is_transformers_own() -> None:
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, 100)
    expected = []
    for _ in range(100):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates() == pytest.approx(expected)


def test_every_epoch_has_every_example_once_and_another_order() -> None:
    order = BatchOrder(tuple(range(1, 24)), Train(global_batch=5, epochs=3), ALL)
    assert (order.steps_per_epoch, order.total_steps) == (5, 15)
    epochs = [sum((order.batch(step) for step in range(e * 5, e * 5 + 5)), []) for e in range(3)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = BatchOrder(tuple(range(1, 24)), Train(global_batch=5, epochs=3), ALL)
    assert again.batch(11) == order.batch(11)


def test_dropout_differs_by_seed_step_and_rank() -> None:
    drawn = set()
    for seed in (1, 2):
        for step in range(50):
            for rank in range(4):
                seed_step(seed, step, rank)
                drawn.add(float(torch.rand(1, dtype=torch.float64)))
    assert len(drawn) == 2 * 50 * 4
    seed_step(2, 49, 3)
    assert float(torch.rand(1, dtype=torch.float64)) in drawn


def test_head_alone_is_as_good_as_logistic_regression() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 6, generator=generator)
    direction = torch.randn(6, generator=generator)
    labels = ((features @ direction + 0.5 * torch.randn(400, generator=generator)) > 0).long()

    def score(head: LinearHead) -> float:
        with torch.no_grad():
            return float((head.forward_features(features).argmax(1) == labels).float().mean())

    section = Classification.model_validate({"name": "glue/cola"})
    examples = [Example(n, {}, int(label)) for n, label in enumerate(labels)]
    known = ExampleFeatures(examples, [[one] for one in features])
    task = build_task(section)
    found = train_head(lambda: LinearHead(6, 2, "first"), task, known, score, seed=1)
    reference = LogisticRegression(C=1e6).fit(features.numpy(), labels.numpy())
    assert found >= reference.score(features.numpy(), labels.numpy()) - 0.005
