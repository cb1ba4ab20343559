# The recommended recipe for the four unfolded networks: what goes into *_best configs beside the losses
# (../models/*_best.py). configs/ablations has each of its parts alone, and those that are left out because they lowered
# the validation figure of short trainings (docs/training.md): crops, symmetries, scale, rotation, noise and gain.
_base_ = ['../schedules/cosine_400e.py', '../default_runtime.py']

# Weight decay apart from the gradient's statistics, at PyTorch's 0.01; five times the published rate, which a
# warm-up of ten epochs allows, as does the bound on the gradient: one bad crop of a batch of 8 moves no stage far.
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.01), clip_grad=dict(max_norm=1.0))
# Averaged over about the last tenth of the steps so far: the weights are scored without the last steps' noise.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', gamma=10, momentum=1e-4, update_buffers=True),
]

train_loader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(
        size=256,
        pipeline=[
            # A few hundred images hold one or two targets each: show more of them, on other backgrounds.
            dict(type='TargetCopyPaste', prob=0.5, other=True)
        ],
    ),
)
# Scored as published comparisons are.
eval_loader = dict(dataset=dict(size=256))
