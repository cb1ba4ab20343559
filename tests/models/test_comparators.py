"""What holds for every comparator network, and what is special about single ones."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from drpca.errors import UserError
from drpca.models.detector import DetectionModel, unused_parameter_names
from drpca.models.mtunet import ViT
from drpca.registry import MODELS, network_names
from tests.support import small, smallest_image


def make(name: str, **options: Any) -> nn.Module:
    return MODELS.build({'type': name, **options})


# Name: (parameters, of which never used) of the published network.
PARAMETERS = {
    'ACM': (397_823, 0),
    'ALCNet': (519_889, 92_928),
    'RDIAN': (216_758, 0),
    'ResUNet': (904_785, 0),
    'ISTDUNet': (2_761_138, 9_265),
    'MSHNet': (4_065_513, 0),
    'RPCANetPlusPlus': (2_961_582, 46_240),
    'DNANet': (4_696_568, 0),
    'UIUNet': (50_540_309, 0),
    'AGPCNet': (12_360_461, 0),
    'MTUNet': (12_750_134, 3_479_552 + 589 + 24),
    'ISNet': (1_089_519, 103_709),
    'L2SKNet': (898_913, 0),
    'L2SKNetFPN': (1_071_053, 0),
    'L2SKNet1D': (1_326_753, 507_904),
    'L2SKNet1DFPN': (1_498_893, 507_904),
}
OTHER_CONFIGURATIONS: list[tuple[str, dict[str, Any], int]] = [
    ('MSHNet', {'in_channels': 1}, 4_065_481),
    ('DNANet', {'in_channels': 3}, 4_696_888),
    ('UIUNet', {'in_channels': 3}, 50_541_461),
    ('MTUNet', {'in_channels': 3}, 12_750_610),
    ('ISNet', {'in_channels': 3, 'modulated': True}, 1_090_671),
    ('RPCANetPlusPlus', {'num_stages': 3}, 1_480_791),
    ('RPCANetPlusPlus', {'num_stages': 9}, 4_442_373),
]


@pytest.fixture(scope='module', params=[n for n in network_names() if hasattr(MODELS.get(n), 'unused_parameters')])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(small(request.param))


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameter_counts(name: str) -> None:
    with torch.device('meta'):
        network = make(name)
    unused = unused_parameter_names(network)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    counted = sum(sizes.values()), sum(size for key, size in sizes.items() if key in unused)
    assert counted == PARAMETERS[name]


@pytest.mark.parametrize(('name', 'options', 'count'), OTHER_CONFIGURATIONS)
def test_parameter_counts_of_other_configurations(name: str, options: dict[str, Any], count: int) -> None:
    with torch.device('meta'):
        network = make(name, **options)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_every_unused_pattern_matches(network: nn.Module) -> None:
    names = set(network.state_dict())
    for pattern in network.unused_parameters:
        assert any(fnmatchcase(name, pattern) for name in names), pattern


def test_training_with_one_image_works_or_says_why(network: nn.Module) -> None:
    network.train()
    image = smallest_image(network, 1)
    if network.min_train_batch == 1:
        assert all(output.isfinite().all() for output in network(image))
    else:
        with pytest.raises(UserError, match='at least 2 images per batch'):
            network(image)


def test_wrong_shapes_say_what_fits(network: nn.Module) -> None:
    network.eval()
    image = smallest_image(network, 1)
    with pytest.raises(UserError, match=f'images of shape .batch, {network.in_channels}, height, width'):
        network(image[:, [0] * (network.in_channels + 1)])
    with pytest.raises(UserError, match=f'sides of at least {network.min_size}'):
        network(image[..., : network.min_size - 1])
    if network.size_multiple > 1:
        with pytest.raises(UserError, match=f'multiples of {network.size_multiple}'):
            network(F.pad(image, (0, 1)))


# --- single networks ------------------------------------------------------------------------------


def test_alcnet_with_four_layers_doubles_the_size_multiple() -> None:
    assert make('ALCNet', num_blocks=(1, 1, 1, 1)).size_multiple == 32


def test_agpcnet_states_the_smallest_image_of_its_grids() -> None:
    assert make('AGPCNet').min_size == 80
    assert make('AGPCNet', scales=(5, 3)).min_size == 40


@pytest.mark.parametrize('size', [(8, 8), (16, 8), (24, 40)])
def test_istdunet_takes_every_multiple_of_eight(size: tuple[int, int]) -> None:
    network = make('ISTDUNet')
    image = torch.rand(2, 1, *size)
    (trained,) = network.train()(image)
    with torch.no_grad():
        (logits,) = network.eval()(image)
        assert DetectionModel(network).eval().detect(image).shape == image.shape
    assert trained.shape == logits.shape == image.shape
    assert trained.isfinite().all()
    assert logits.isfinite().all()


def test_istdunet_returns_the_centres_on_request() -> None:
    plain = make('ISTDUNet')
    both = make('ISTDUNet', centre_head=True)
    both.load_state_dict(plain.state_dict())
    assert plain.outputs == ('target',)
    assert both.outputs == ('target', 'aux1')
    assert not unused_parameter_names(both)
    image = smallest_image(plain, 1)
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(image)[0], both.eval()(image)[0])


def test_istdunet_memories_start_equal_but_apart() -> None:
    attention = make('ISTDUNet').DN.X1
    keys, values = attention.linear_0.weight, attention.linear_1.weight
    assert torch.equal(values, keys.transpose(0, 1))
    with torch.no_grad():
        keys.zero_()
    assert values.abs().sum() > 0


def test_dnanet_without_deep_supervision_has_one_output() -> None:
    single = make('DNANet', num_blocks=(1, 1, 1, 1), deep_supervision=False)
    assert single.outputs == ('target',)
    assert make('DNANet', num_blocks=(1, 1, 1, 1)).outputs == ('target', 'aux1', 'aux2', 'aux3')


class TestMTUNetPositions:
    """Position tables on other token grids than those they were trained on."""

    @staticmethod
    def vit(position_grid: tuple[int, int] | None = None) -> ViT:
        return ViT(8, 2, dim=4, position_grid=position_grid)

    def test_published_rule_reads_one_row_per_token(self) -> None:
        vit = self.vit()
        assert torch.equal(vit.positions(4, 6), vit.embedding[:25])
        assert torch.equal(vit.positions(64, 64), vit.embedding)

    def test_a_trained_grid_is_exact_at_its_own_size(self) -> None:
        vit = self.vit((4, 6))
        assert torch.equal(vit.positions(4, 6), vit.embedding[:25])

    def test_other_sizes_interpolate_the_trained_grid(self) -> None:
        vit = self.vit((4, 6))
        rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing='ij')
        with torch.no_grad():
            vit.embedding[1:25] = (rows + 10 * columns).reshape(-1, 1)
        grid = vit.positions(8, 6)[1:].view(8, 6, 4)
        assert torch.equal(vit.positions(8, 6)[0], vit.embedding[0])
        # Twice the rows: new row 2r + 1 lies a quarter between old rows r and r + 1, columns stay.
        torch.testing.assert_close(grid[1, :, 0], 0.25 + 10 * torch.arange(6.0))
        torch.testing.assert_close(grid[2, :, 0], 0.75 + 10 * torch.arange(6.0))

    def test_more_tokens_than_positions_interpolate_the_published_grid(self) -> None:
        vit = self.vit()
        positions = vit.positions(128, 64)
        assert positions.shape == (1 + 128 * 64, 4)
        table = vit.embedding[1:].view(64, 64, 4)
        torch.testing.assert_close(positions[1:].view(128, 64, 4)[1], 0.75 * table[0] + 0.25 * table[1])

    def test_a_grid_larger_than_the_table_is_refused(self) -> None:
        with pytest.raises(UserError, match='4096 positions'):
            make('MTUNet', position_grid=(65, 64))
