"""Protocols as configuration, the accumulating evaluator, and the metric in MMEngine."""

import dataclasses
import multiprocessing
import os
import pickle
import socket

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator as MMEngineEvaluator
from scipy import ndimage

from drpca.errors import UserError
from drpca.evaluation import Evaluator, Protocol, TargetMetric, build_protocol, known_protocols
from drpca.evaluation.protocols import build_protocols
from drpca.registry import METRICS, PROTOCOLS

PRESETS = ['basicirstd', 'drpca', 'rpcanet', 'shooting', 'opdc']


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    result = []
    for i in range(5):
        gt_mask = np.zeros((24, 32), dtype=bool)
        gt_mask[5:8, 4 + 3 * i : 7 + 3 * i] = True
        scores = np.where(gt_mask, 0.9, 0).astype(np.float32)
        scores[rng.integers(0, 24, 6), rng.integers(0, 32, 6)] = 0.7
        result.append({'name': f'image_{i}', 'scores': scores, 'gt_mask': gt_mask})
    return result


def test_presets_are_those_of_the_documents():
    assert sorted(known_protocols()) == sorted(PRESETS)
    plain = build_protocol('basicirstd')
    assert plain == Protocol(name='basicirstd', source=plain.source)
    assert build_protocol('rpcanet').size == build_protocol('drpca').size == 256
    for preset in PRESETS:
        assert build_protocol(preset).source, preset


def test_a_config_can_change_a_preset_or_state_its_own():
    strict = PROTOCOLS.build({'type': 'basicirstd', 'name': 'strict', 'threshold': 0.7})
    assert strict == dataclasses.replace(build_protocol('basicirstd'), name='strict', threshold=0.7)
    rules = {'matching': 'box', 'false_alarms': 'outside_targets', 'hit_radius': 2}
    own = build_protocol({'type': 'Protocol', 'name': 'own', **rules})
    assert (own.matching_text, own.threshold_text) == ('2 px box', '> 0.5')


def test_a_registered_protocol_is_found_by_name(samples):
    def near(**changes):
        return Protocol(**{'name': 'near', 'distance': 1.0, **changes})

    PROTOCOLS.register_module(name='near', module=near)
    try:
        evaluator = Evaluator(['near'])
        evaluator.update(samples[0]['scores'], samples[0]['gt_mask'])
        assert evaluator.compute()['near']['targets'] == 1
    finally:
        del PROTOCOLS.module_dict['near']


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ('rpcnet', r"Unknown protocol 'rpcnet'. Did you mean 'rpcanet'\? Known: basicirstd, drpca,"),
        ({'type': 'drpca', 'treshold': 0.1}, "'treshold'. Did you mean 'threshold'"),
        ({'type': 'Protocol'}, 'needs a name'),
        ({'type': 'drpca', 'matching': 'nearest'}, "'nearest'"),
        ({'type': 'drpca', 'threshold': 1.0}, 'threshold in'),
        ({'type': 'drpca', 'overlap': 0}, 'overlap in'),
        ({'type': 'drpca', 'distance': -1}, 'distance'),
        ({'type': 'drpca', 'size': 0}, 'size'),
        ({'type': 'drpca', 'matching': 'box'}, 'needs matched pairs'),
    ],
)
def test_bad_protocols_are_refused(spec, message):
    with pytest.raises(UserError, match=message):
        build_protocol(spec)


def test_names_must_differ():
    with pytest.raises(UserError, match="'drpca'"):
        build_protocols(['drpca', {'type': 'drpca', 'threshold': 0.3}])
    with pytest.raises(UserError, match='at least one'):
        Evaluator([])


def test_evaluators_of_different_protocols_do_not_merge():
    with pytest.raises(UserError, match='different protocols'):
        Evaluator(['drpca']).merge(Evaluator(['rpcanet']))


def test_each_binary_map_is_labelled_once(samples, monkeypatch):
    calls = []
    label = ndimage.label
    monkeypatch.setattr(ndimage, 'label', lambda *args, **kwargs: calls.append(1) or label(*args, **kwargs))
    Evaluator(['rpcanet', 'shooting']).update(samples[0]['scores'], samples[0]['gt_mask'])
    assert len(calls) == 1  # the mask alone: overlap and box need no predicted components
    calls.clear()
    Evaluator(PRESETS).update(samples[0]['scores'], samples[0]['gt_mask'])
    assert len(calls) == 3  # mask, fixed map, max-normalised map


def test_metric_in_mmengine_takes_arrays_and_tensors(samples):
    metric = METRICS.build({'type': 'TargetMetric', 'protocols': ['basicirstd', 'drpca']})
    evaluator = MMEngineEvaluator(metric)
    tensors = [
        {**s, 'scores': torch.from_numpy(s['scores'])[None], 'gt_mask': torch.from_numpy(s['gt_mask'])}
        for s in samples[3:]
    ]
    evaluator.process(data_samples=samples[:3])
    evaluator.process(data_samples=tensors)
    figures = evaluator.evaluate(5)
    plain = Evaluator(['basicirstd', 'drpca'])
    for sample in samples:
        plain.update(sample['scores'], sample['gt_mask'])
    expected = plain.compute()
    assert figures['images'] == 5
    for key, value in expected['basicirstd'].items():
        assert figures[key] == pytest.approx(value)
    for key, value in expected['drpca'].items():
        assert figures[f'drpca/{key}'] == pytest.approx(value)
    assert 0 < figures['Fa'] < 1
    assert figures['Pd'] == 1


def test_bfloat16_scores_and_a_prefix(samples):
    metric = TargetMetric(prefix='val')
    scores = torch.from_numpy(samples[0]['scores']).to(torch.bfloat16)
    metric.process(None, [{**samples[0], 'scores': scores}])
    assert metric.evaluate(1)['val/Pd'] == 1


def test_only_small_records_are_collected_from_other_processes(samples):
    metrics = [TargetMetric(PRESETS), TargetMetric(PRESETS), TargetMetric(PRESETS)]
    for metric, part in zip(metrics, (samples, samples[:2], samples[2:])):
        metric.process(None, part)
    whole, *parts = (metric.results for metric in metrics)
    assert len(pickle.dumps(whole[0])) < 8000  # 201 thresholds twice, and the counts
    collected = [pickle.loads(pickle.dumps(record)) for part in parts for record in part]
    expected = metrics[0].compute_metrics(whole)
    assert metrics[1].compute_metrics(collected) == pytest.approx(expected, nan_ok=True)


def evaluate_in_process(rank, port, samples, results):
    """One of two processes: its share of the samples, the last one padded by a repetition as samplers do."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2')
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    padded = [*samples, samples[0]]
    metric = TargetMetric(PRESETS)
    for sample in padded[rank::2]:
        metric.process(None, [sample])
    results[rank] = metric.evaluate(len(samples))
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(
    torch.cuda.is_available() or not hasattr(os, 'fork'), reason='forks, and a GPU does not outlast that'
)
def test_two_processes_give_the_figures_of_one(samples):
    single = TargetMetric(PRESETS)
    single.process(None, samples)
    expected = single.evaluate(len(samples))
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with multiprocessing.get_context('fork').Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.start_processes(evaluate_in_process, (port, samples, results), 2, start_method='fork')
        got = dict(results)
    assert got[0] == pytest.approx(expected, nan_ok=True)
    assert got[1] == pytest.approx(expected, nan_ok=True)


def test_a_bad_sample_is_named(samples):
    metric = TargetMetric()
    with pytest.raises(UserError, match=r'image_0: expected shape \(H, W\)'):
        metric.process(None, [{**samples[0], 'scores': np.zeros((2, 24, 32))}])
