"""Losses as registered modules, each ``loss(outputs, image, gt_mask) → scalar``.

``outputs`` maps the network's output names to tensors (B, 1, h, w): ``'reconstruction'`` in image units,
all others logits. A config names the terms and their weights; the detector adds them up:

    losses = dict(soft_iou=dict(type='SoftIoULoss'), fidelity=dict(type='FidelityLoss', weight=0.1))

Deep supervision is one term on several outputs, the ``mean`` or the ``sum`` over them:

    losses = dict(soft_iou=dict(type='SoftIoULoss', on=['target', 'aux1', 'aux2'], over='mean'))

``on='stages'`` is the target of every stage of an unfolded network. Weights can change, or be learned:

    fidelity = dict(type='FidelityLoss', weight=dict(type='ScheduledWeight', start=1.0, end=0.1))
    fidelity = dict(type='FidelityLoss', weight=dict(type='LearnedWeight', start=0.1))
"""

import lazy_loader

# What can be imported from here stands in __init__.pyi; a file is imported when a name of it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
