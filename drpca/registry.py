"""Child registries of MMEngine's root ones: the only file that touches those.

``MODELS.build(dict(type='RPCANet'))`` works without any import by the caller: each registry knows
the packages in which its classes are defined and imports them on first use. A config sets
``default_scope = 'drpca'``, so that MMEngine's ``Runner`` looks here first and in MMEngine's own
registries (``Adam``, ``PolyLR``, ``CheckpointHook``, …) next.
"""

from __future__ import annotations

from mmengine import registry as _root
from mmengine.registry import Registry

SCOPE = 'drpca'


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=list(locations) or ['drpca'])


MODELS = _child('model', _root.MODELS, 'drpca.models', 'drpca.losses')
DATASETS = _child('dataset', _root.DATASETS, 'drpca.datasets.dataset')
DATA_SAMPLERS = _child('data sampler', _root.DATA_SAMPLERS, 'drpca.datasets.samplers')
TRANSFORMS = _child(
    'transform', _root.TRANSFORMS, 'drpca.datasets.transforms', 'drpca.datasets.published_transforms'
)
METRICS = _child('metric', _root.METRICS, 'drpca.evaluation.metrics')
HOOKS = _child(
    'hook',
    _root.HOOKS,
    *(f'drpca.engine.hooks.{name}' for name in ('log', 'loss_epoch', 'pictures', 'seed', 'selection')),
)
LOOPS = _child('loop', _root.LOOPS, 'drpca.engine.loop')
RUNNERS = _child('runner', _root.RUNNERS, 'drpca.engine.train')

# Nothing of ours in these so far; they exist so that a config's default scope finds MMEngine's classes.
VISUALIZERS = _child('visualizer', _root.VISUALIZERS, 'drpca.visualization')
VISBACKENDS = _child('vis_backend', _root.VISBACKENDS)
OPTIMIZERS = _child('optimizer', _root.OPTIMIZERS)
OPTIM_WRAPPERS = _child('optim_wrapper', _root.OPTIM_WRAPPERS, 'drpca.engine.optimisation')
OPTIM_WRAPPER_CONSTRUCTORS = _child('optimizer wrapper constructor', _root.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child('parameter scheduler', _root.PARAM_SCHEDULERS)
MODEL_WRAPPERS = _child('model_wrapper', _root.MODEL_WRAPPERS)

# Without a counterpart in MMEngine.
PROTOCOLS = Registry('protocol', scope=SCOPE, locations=['drpca.evaluation.protocols'])
BASELINES = Registry('baseline', scope=SCOPE, locations=['drpca.baselines'])
