# The generated data set: `python tools/make_synthetic.py`.
_base_ = '../dataloaders.py'

dataset = 'synthetic'
# Mean and standard deviation of its grey levels (BasicIRSTD), measured by the published rule on
# the default set.
normalisation = dict(mean=133.0133 / 255, std=25.2902 / 255)
# The published training of the unfolded networks augments SIRST V1 and SIRST-Aug alone.
augmentation = []
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(dataset=dataset))
