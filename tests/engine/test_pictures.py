"""Pictures of the decomposition: every recipe has them, of the weights that are validated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope
from mmengine.runner import BaseLoop

from drpca.config import find_config, load_config
from drpca.engine.hooks.pictures import DecompositionGridHook
from drpca.engine.train import DetectionRunner
from drpca.registry import MODELS
from drpca.visualization import panels


@pytest.mark.parametrize(
    'name', ['lrrnet_sirstv1_cpu', 'lrrnet_synthetic_cpu', 'rpcanet_plus_sirstv1_whole', 'rpcanet_sirstv1_best']
)
def test_every_recipe_draws_pictures(name: str) -> None:
    hooks = [hook['type'] for hook in load_config(find_config(name)).custom_hooks]
    assert hooks.count('DecompositionGridHook') == hooks.count('TrainingLogHook') == 1
    assert 'EMAHook' in hooks


def test_pictures_show_averaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    init_default_scope('drpca')
    runner: Any = DetectionRunner.__new__(DetectionRunner)
    model = MODELS.build({'type': 'DetectionModel', 'network': {'type': 'RPCANet', 'num_stages': 1}})
    runner.model, runner._hooks = model, []
    runner._train_loop = mock.Mock(spec=BaseLoop, epoch=2, max_epochs=2, iter=4, max_iters=4)
    runner.visualizer = SimpleNamespace(add_image=lambda *_, **__: None)
    grid = DecompositionGridHook()
    grid._samples = [{'image': torch.rand(1, 16, 16), 'gt_mask': torch.ones(1, 16, 16)}]
    average = EMAHook(momentum=0.5, update_buffers=True)
    for hook in (grid, average):  # in the order of the configs
        runner.register_hook(hook)
    runner.call_hook('before_run')
    weight = next(model.parameters())
    before = weight.detach().clone()
    weight.data.add_(1)
    seen = []

    def panel(model: Any, image: Any, mask: Any) -> np.ndarray:
        seen.append(next(model.parameters()).detach().clone())
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(panels, 'decomposition_panel', panel)
    runner.call_hook('before_val_epoch')
    runner.call_hook('after_val_epoch', metrics={})
    assert torch.equal(seen[0], before)
    assert torch.equal(weight, before + 1)
