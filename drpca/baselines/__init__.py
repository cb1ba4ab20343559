"""Classical detectors: filters, local contrast measures and optimisation-based RPCA, without training."""

import lazy_loader

# What can be imported from here stands in __init__.pyi; a file is imported when a name of it is used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
