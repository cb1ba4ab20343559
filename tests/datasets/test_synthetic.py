import json

import numpy as np
import pytest
from scipy import ndimage

from drpca.cli.make_synthetic import main
from drpca.datasets import open_split
from drpca.datasets.synthetic import SCENES, generate_dataset, generate_frame, texture
from drpca.errors import UserError
from tests.support import limited_files


@pytest.fixture(scope='module')
def frames():
    return [generate_frame(np.random.default_rng([0, i]), 128) for i in range(60)]


def contents(root):
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob('*')) if f.is_file()}


def test_frames(frames):
    counts, areas = [], []
    for image, gt_mask in frames:
        assert image.dtype == np.uint8
        assert gt_mask.dtype == bool
        assert image.shape == gt_mask.shape == (128, 128)
        labels, count = ndimage.label(gt_mask, np.ones((3, 3)))
        counts.append(count)
        areas += list(np.bincount(labels.ravel())[1:])
    assert set(counts) == {0, 1, 2, 3, 4}
    assert min(areas) >= 2
    assert max(areas) <= 80


def test_targets_are_brighter_than_what_surrounds_them(frames):
    contrasts = []
    for image, gt_mask in frames:
        labels, count = ndimage.label(gt_mask, np.ones((3, 3)))
        near = ndimage.binary_dilation(gt_mask, iterations=3)
        for k in range(1, count + 1):
            ring = ndimage.binary_dilation(labels == k, iterations=6) & ~near
            contrasts.append((image[labels == k].mean() - image[ring].mean()) / (image[ring].std() + 1))
    assert len(contrasts) > 60
    assert np.mean(np.array(contrasts) > 1) > 0.95
    assert 3 < np.median(contrasts) < 15


def test_top_hat_does_badly(frames):
    hits = union = 0
    for image, gt_mask in frames:
        scores = ndimage.white_tophat(image.astype(float), size=(5, 5))
        pred_mask = scores > 0.5 * scores.max()
        hits, union = hits + (pred_mask & gt_mask).sum(), union + (pred_mask | gt_mask).sum()
    assert 0 < hits / union < 0.25


@pytest.mark.parametrize('scene', SCENES)
@pytest.mark.parametrize('shape', [(32, 32), (33, 70)])
def test_every_scene_at_every_shape(scene, shape):
    for seed in range(5):
        radiance = SCENES[scene](np.random.default_rng(seed), shape)
        assert radiance.shape == shape
        assert np.isfinite(radiance).all()
        assert np.ptp(radiance) > 0.005


def test_texture_has_the_spectrum_it_names():
    fields = [texture(np.random.default_rng(i), (128, 128), 2.5) for i in range(10)]
    power = np.mean([np.abs(np.fft.fft2(f)) ** 2 for f in fields], axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    used = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[used]), np.log(power[used]), 1)[0]
    assert slope == pytest.approx(-2.5, abs=0.1)
    assert np.std(fields[0]) == pytest.approx(1)


def test_same_seed_same_bytes_and_a_larger_set_contains_the_smaller(tmp_path):
    first = contents(generate_dataset(tmp_path / 'a', 3, 2, 48, seed=5))
    assert contents(generate_dataset(tmp_path / 'b', 3, 2, 48, seed=5)) == first
    larger = contents(generate_dataset(tmp_path / 'c', 4, 3, 48, seed=5))
    other = contents(generate_dataset(tmp_path / 'd', 3, 2, 48, seed=6))
    pictures = [name for name in first if name.endswith('.png')]
    assert len(pictures) == 10
    for name in pictures:
        assert larger[name] == first[name]
        assert 'images' not in name or other[name] != first[name]
    assert len({first[name] for name in pictures if 'images' in name}) == 5


def test_layout_and_parameters(tmp_path):
    root = generate_dataset(tmp_path, 3, 2, 48, seed=5)
    assert [len(open_split('synthetic', s, tmp_path)) for s in ('trainval', 'test')] == [3, 2]
    split = open_split('synthetic', 'test', tmp_path)
    image, gt_mask = generate_frame(np.random.default_rng([5, 1, 1]), 48)
    np.testing.assert_array_equal(split.read_image(split.names[1]), image)
    np.testing.assert_array_equal(split.read_mask(split.names[1]), gt_mask)
    parameters = json.loads((root / 'synthetic.json').read_text())
    assert parameters == {'num_train': 3, 'num_test': 2, 'size': 48, 'seed': 5, 'version': 1}
    assert not list(tmp_path.glob('.synthetic*'))


def test_scenes(tmp_path, capsys):
    options = ['--data-root', str(tmp_path), '--num-train', '1', '--num-test', '1', '--size', '32', '--scenes', 'sky']
    assert main(options) == 0
    assert json.loads((tmp_path / 'synthetic' / 'synthetic.json').read_text())['scenes'] == ['sky']
    assert main(options) == 0, 'the same again'
    assert main([*options, 'sea']) == 2
    assert 'Use --overwrite' in capsys.readouterr().err
    assert main([*options, 'seas']) == 2
    assert "Did you mean 'sea'?" in capsys.readouterr().err
    assert np.array_equal(
        generate_frame(np.random.default_rng(0), 48)[0], generate_frame(np.random.default_rng(0), 48, tuple(SCENES))[0]
    )


def test_nothing_is_overwritten_silently(tmp_path, capsys):
    options = ['--data-root', str(tmp_path), '--num-train', '2', '--num-test', '1', '--size', '32']
    assert main(options) == 0
    made = contents(tmp_path / 'synthetic')
    assert main(options) == 0
    assert main([*options, '--seed', '1']) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert contents(tmp_path / 'synthetic') == made
    assert main([*options, '--seed', '1', '--overwrite']) == 0
    assert contents(tmp_path / 'synthetic') != made
    (tmp_path / 'synthetic/synthetic.json').unlink()
    with pytest.raises(UserError, match='was not made by this generator'):
        generate_dataset(tmp_path, 2, 1, 32, overwrite=True)


def test_sequences(tmp_path, capsys):
    options = ['--data-root', str(tmp_path), '--sequences', '3', '--frames', '2', '--size', '32']
    assert main(options) == 0
    assert '3 sequences in' in capsys.readouterr().out
    made = contents(tmp_path)
    assert 'synthetic_sequences/train/train_000/images/0002.png' in made
    assert main(options) == 0, 'the same again'
    for wrong, message in (
        ([*options, '--seed', '1'], 'Use --overwrite'),
        ([*options, '--scenes', 'sky'], '--scenes is not of --sequences'),
        ([*options[:2], '--frames', '2'], '--frames is of --sequences'),
        ([*options[:2], '--sequences', '2'], 'Expected 3 to 10,000 sequences'),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
    assert contents(tmp_path) == made
    assert main([*options, '--seed', '1', '--overwrite']) == 0
    assert contents(tmp_path).keys() == made.keys()
    assert contents(tmp_path) != made


def test_a_full_disk(tmp_path, capsys):
    options = ['--data-root', str(tmp_path), '--num-train', '2', '--num-test', '1', '--size', '64']
    assert main(options) == 0
    made = contents(tmp_path)
    with limited_files(1000):
        assert main([*options, '--seed', '1', '--overwrite']) == 1
    err = capsys.readouterr().err.strip()
    assert 'the disk is full' in err
    assert len(err.splitlines()) == 1
    assert contents(tmp_path) == made


def test_bad_parameters(tmp_path):
    for options in ({'num_train': 0}, {'num_test': 0}, {'size': 16}, {'seed': -1}):
        with pytest.raises(UserError, match='Expected num_train and num_test >= 1'):
            generate_dataset(tmp_path, **options)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match='at least 32 pixels'):
        generate_frame(np.random.default_rng(0), (64, 20))
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='Cannot write to'):
        generate_dataset(tmp_path / 'file', 1, 1, 32)
