"""Measures of low-rankness and sparsity by hand, and one way into networks and classical methods."""

import numpy as np
import pytest
import torch

from drpca.datasets.io import resize_image, to_unit
from drpca.errors import UserError
from drpca.inference.decomposer import make_decomposer, recorded_scalars
from drpca.inference.mappers import BaselineMapper, NetworkMapper
from drpca.models.detector import DetectionModel
from drpca.registry import BASELINES, MODELS
from drpca.studies import decomposition as M


def test_rank_one():
    values = M.singular_values(np.outer(np.arange(1, 31), np.arange(1, 21)))
    assert M.effective_rank(values) == pytest.approx(1, abs=1e-9)
    assert M.energy(values, 1) == pytest.approx(1)
    curve = M.normalised_curve(values)
    assert curve[0] == 1
    assert curve[10:].max() < 1e-9


@pytest.mark.parametrize('n', [2, 7, 30])
def test_orthogonal_matrices_have_full_effective_rank(n):
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    values = M.singular_values(3 * q)
    assert M.effective_rank(values) == pytest.approx(n)
    assert M.energy(values, 1) == pytest.approx(1 / n)
    assert M.normalised_curve(values) == pytest.approx(np.ones(101))


def test_effective_rank_by_hand():
    # p = 3/4, 1/4: entropy 0.5623 nats
    assert M.effective_rank(M.singular_values(np.diag([3.0, 1.0, 0.0]))) == pytest.approx(1.75476, abs=1e-5)
    assert M.energy(np.array([3.0, 1.0, 0.0]), 1) == pytest.approx(0.9)
    curve = M.normalised_curve(np.array([3.0, 1.0, 0.0]), np.array([0, 0.25, 0.5, 1]))
    assert curve == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_zero_matrix():
    values = M.singular_values(np.zeros((4, 6)))
    assert M.effective_rank(values) == 0
    assert np.isnan(M.energy(values, 1))
    assert not M.normalised_curve(values).any()
    assert np.isnan(M.gini_index(np.zeros((3, 3))))
    assert M.l0_share(np.zeros((3, 3)), 0.1) == 0


def test_gini_extremes_and_by_hand():
    assert M.gini_index(np.full((5, 8), 0.3)) == pytest.approx(0, abs=1e-12)
    one = np.zeros(40)
    one[17] = 2.0
    assert M.gini_index(one) == pytest.approx(1 - 1 / 40)
    assert M.gini_index(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert M.gini_index(10 * one) == pytest.approx(M.gini_index(one))


def test_gini_is_half_the_relative_mean_difference():
    v = np.random.default_rng(0).random(60)
    difference = np.abs(v[:, None] - v[None]).mean() / (2 * v.mean())
    assert M.gini_index(v) == pytest.approx(difference)


def test_views_of_the_target():
    target = np.full((4, 5), -7.0)
    target[1, 2], target[3, 3] = 13, 3  # 20 and 10 above the level
    gini = M.gini_index(np.array([20, 10] + [0] * 18))
    assert M.sparsity(target, 'deviation', 0.1) == pytest.approx({'l0': 2 / 20, 'l1': 30 / 20, 'gini': gini})
    assert M.sparsity(target, 'deviation', 0.5)['l0'] == 1 / 20
    assert M.sparsity(target, 'positive', 0.1)['l1'] == pytest.approx(16 / 20)
    assert M.sparsity(target, 'raw', 0.1)['l0'] == 1
    with pytest.raises(UserError, match='deviation, positive, raw'):
        M.sparsity(target, 'signed', 0.1)


def network(kind, size=32, **options):
    torch.manual_seed(0)
    model = DetectionModel({'type': kind, **options})
    return NetworkMapper(model, size, device='cpu')


def frames(*shapes):
    rng = np.random.default_rng(0)
    return [(f'f{i}', rng.integers(0, 255, shape, dtype=np.uint8)) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ('kind', 'scalars'),
    [('RPCANet', {'epsilon'}), ('RPCANetPlus', {'epsilon', 'sigma'}), ('DRPCANet', {'epsilon', 'gamma'})],
)
def test_networks(kind, scalars):
    mapper = network(kind, num_stages=2)
    frame = frames((40, 50))[0][1]
    decomposition = make_decomposer(mapper).decompose(frame)
    image = to_unit(resize_image(frame, (32, 32)))
    assert np.array_equal(decomposition.image, image)
    with torch.inference_mode():
        states = mapper.model.network.decompose(torch.from_numpy(image)[None, None])
    assert len(decomposition.stages) == 2
    for stage, state in zip(decomposition.stages, states):
        for key in ('background', 'target', 'reconstruction'):
            assert np.allclose(getattr(stage, key), getattr(state, key)[0, 0].numpy(), atol=1e-4), key
        assert (stage.noise is None) == (kind != 'RPCANetPlus')
        assert set(stage.scalars) == scalars


def test_scores_are_the_sigmoid_of_the_last_target():
    decomposer = make_decomposer(network('RPCANet', size=None, num_stages=2))
    frame = frames((21, 35))[0][1]
    last = decomposer.decompose(frame).stages[-1].target
    assert last.shape == (21, 35)
    assert np.allclose(decomposer.scores(frame), 1 / (1 + np.exp(-last)), atol=1e-5)


def test_scalars_are_those_of_the_formula():
    net = MODELS.build({'type': 'DRPCANet', 'num_stages': 1}).eval()
    image = torch.rand(1, 1, 16, 16)
    with torch.inference_mode(), recorded_scalars(net) as scalars:
        net(image)
    with torch.inference_mode():
        step = net.decos[0].sparse
        gamma = float(step.gamma_generator(torch.zeros(1, 1, 16, 16)))  # T⁰ = 0
        background = net.decompose(image)[0].background
        epsilon = float(step.epsilon_generator((1 - gamma) * (image - background)))
    assert scalars[0] == pytest.approx({'gamma': gamma, 'epsilon': epsilon}, abs=1e-6)
    assert not any(module._forward_hooks for module in net.modules())


def test_generated_scalars_differ_from_image_to_image():
    decomposer = make_decomposer(network('DRPCANet', num_stages=1))
    dark, bright = (np.full((32, 32), grey, np.uint8) for grey in (10, 250))
    epsilon = [decomposer.decompose(frame).stages[0].scalars['epsilon'] for frame in (dark, bright)]
    assert epsilon[0] != epsilon[1]


def test_classical_methods_have_one_record():
    ipi = BASELINES.build({'type': 'IPI', 'input_size': (48, 48), 'patch_size': 16, 'step': 8})
    frame = np.tile(np.linspace(60, 90, 70), (60, 1)).astype(np.uint8)
    frame[30, 40] = 250
    decomposer = make_decomposer(BaselineMapper(ipi))
    decomposition = decomposer.decompose(frame)
    (stage,) = decomposition.stages
    assert stage.scalars == {}
    assert np.allclose(stage.reconstruction, decomposition.image, atol=0.02)
    measured = M.measure([('a', decomposition)], 'raw')
    assert measured.stages == 1
    assert measured.gini[0, 0] > 0.9
    assert measured.effective_rank[0, 0] < measured.image_effective_rank[0]


def test_detectors_without_decomposition():
    with pytest.raises(UserError, match='ACM has no decomposition'):
        make_decomposer(network('ACM'))
    top_hat = BaselineMapper(BASELINES.build({'type': 'TopHat'}))
    with pytest.raises(UserError, match='filter'):
        make_decomposer(top_hat).decompose(frames((40, 40))[0][1])


def test_measuring_images_of_any_size():
    decomposer = make_decomposer(network('RPCANetPlus', size=None, num_stages=2))
    measured = M.measure(decomposer.named(frames((24, 40), (33, 19), (16, 16))), ranks=(1, 3))
    assert measured.names == ['f0', 'f1', 'f2']
    assert measured.stages == 2
    assert measured.curves.shape == (3, 2, 101)
    assert measured.energy.shape == (3, 2, 2)
    assert set(measured.scalars) == {'epsilon', 'sigma'}
    assert np.ptp(measured.scalars['epsilon'], axis=0) == pytest.approx([0, 0]), 'a parameter, one for all'
    background = decomposer.decompose(frames((24, 40))[0][1]).stages[1].background
    expected = M.effective_rank(np.linalg.svd(background.astype(float), compute_uv=False))
    assert measured.effective_rank[0, 1] == pytest.approx(expected)
    assert measured.relative_rank[0, 1] == pytest.approx(expected / 24)
    image, *stages = measured.summary()
    assert image['effective_rank'] == pytest.approx(measured.image_effective_rank.mean())
    assert stages[1]['energy_3'] == pytest.approx(measured.energy[:, 1, 1].mean())
