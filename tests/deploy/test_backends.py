"""A file that opens, but does not run or gives something else, is one line."""

from __future__ import annotations

import numpy as np
import pytest

from drpca.deploy.backends import Backend, InputRules
from drpca.errors import UserError


class Stub(Backend):
    """Gives what a function makes of the images."""

    rules = InputRules('Stub')

    def __init__(self, answer) -> None:
        self.answer = answer

    def run(self, images: np.ndarray) -> np.ndarray:
        return self.answer(images)


IMAGES = np.zeros((1, 1, 16, 24), np.float32)


def test_logits_have_the_shape_of_the_images() -> None:
    assert Stub(lambda images: images + 1).logits(IMAGES).shape == IMAGES.shape
    with pytest.raises(UserError, match=r'gives \(1, 16, 24\) for images \(1, 1, 16, 24\)'):
        Stub(lambda images: images[0]).logits(IMAGES)


def test_what_a_runtime_raises_is_one_line() -> None:
    def fails(images: np.ndarray) -> np.ndarray:
        raise KeyError('[ONNXRuntimeError] : 2 : INVALID_ARGUMENT\nand more')

    with pytest.raises(UserError, match=r'does not run: .*INVALID_ARGUMENT'):
        Stub(fails).logits(IMAGES)
