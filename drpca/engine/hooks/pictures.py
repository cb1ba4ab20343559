"""Pictures of the decomposition in TensorBoard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from drpca.models.detector import bare_model
from drpca.registry import HOOKS


@HOOKS.register_module()
class DecompositionGridHook(Hook):
    """Shows D, B, T, score and mask of a few validation images in TensorBoard, before a validation.

    They are of the weights that are validated: averaged ones where there are some.

    Args:
        num_images: Images shown, the first of the validation split that hold a target.
        interval: Epochs between two pictures; the first validation and the last epoch always have one.
    """

    priority = 'LOW'  # after the average has taken the place of the weights

    def __init__(self, num_images: int = 4, interval: int = 1) -> None:
        self.num_images = num_images
        self.interval = interval
        self._last = -math.inf
        self._samples: list[dict[str, Any]] = []

    def before_train(self, runner: Any) -> None:
        if runner.val_loop is None or not is_main_process():
            return
        dataset = runner.val_dataloader.dataset
        for index in range(len(dataset)):
            if len(self._samples) == self.num_images:
                return
            sample = dataset[index]
            if sample['gt_mask'].any():
                self._samples.append(sample)

    @torch.no_grad()
    def before_val_epoch(self, runner: Any) -> None:
        from drpca.visualization.panels import decomposition_panel

        if not self._samples or not is_main_process():
            return
        if runner.epoch - self._last < self.interval and runner.epoch != runner.max_epochs:
            return
        self._last = runner.epoch
        model = bare_model(runner.model)
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        rows = [decomposition_panel(model, sample['image'].to(device), sample['gt_mask']) for sample in self._samples]
        model.train(was_training)
        width = max(row.shape[1] for row in rows)
        rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
        runner.visualizer.add_image('val/decomposition', np.concatenate(rows), step=runner.epoch)
