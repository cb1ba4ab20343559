# What the other configs of this folder are compared with: RPCANet+ on SIRST V1 with its published recipe (Adam 1e-4,
# poly, SoftIoU + 0.1 MSE, whole images of 256²) but for its augmentation, which is an ablation of its own. Each of the
# others changes one thing; README.md has the commands.
_base_ = '../rpcanet_plus/rpcanet_plus_sirstv1.py'

# These two do nothing. Configs that need them change them where they stand, so that one option sets the size of all.
scale = dict(type='ScaleJitter', low=1.0, high=1.0)
crop = dict(type='RandomCrop', size=256, target_prob=0.0)
train_dataloader = dict(dataset=dict(before_resize=[], pipeline=[scale, crop]))
