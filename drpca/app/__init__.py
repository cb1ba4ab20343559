"""A page to try detectors on: ``python -m drpca.app``.

=============== =====================================================================
``command``     the command line
``server``      the web server and its limits
``page``        the page, one object per visitor
``widgets``     parts that it is made of
``choices``     detectors to choose from, loaded when they are first used
``samples``     images to start with
``uploads``     reading what visitors send
``analysis``    one detector on one frame: score map, stages, detections
``pictures``    what the page shows, as PNG and SVG
``download``    the results as a zip file
=============== =====================================================================

Only ``server``, ``page`` and ``widgets`` need the package nicegui.
"""
