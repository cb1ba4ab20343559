"""Initialisations that published trainers apply to a network after building it."""

from __future__ import annotations

from torch import nn

from drpca.errors import unknown_name


def initialise_weights(network: nn.Module, rule: str) -> None:
    """Draw the weights anew.

    Args:
        network: Changed in place.
        rule: ``'xavier'``: Xavier-normal convolution weights (DNANet, MTU-Net). ``'gaussian'``: convolution
            weights N(0, 0.02), BatchNorm weights N(1, 0.02) and biases N(0, 1) (RDIAN, ISNet).

    Raises:
        UserError: Unknown rule.
    """
    if rule not in ('xavier', 'gaussian'):
        raise unknown_name('initialisation', rule, ['xavier', 'gaussian'])
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and rule == 'xavier':
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.02)
        elif isinstance(module, nn.BatchNorm2d) and module.affine and rule == 'gaussian':
            nn.init.normal_(module.weight, 1, 0.02)
            nn.init.normal_(module.bias, 0, 1)
