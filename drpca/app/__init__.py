"""A page to try detectors on: ``python -m drpca.app``.

=============== =====================================================================
``command``     the command line
``server``      the web server and its limits
``page``        the page, one object per visitor and tab: controls, runs, address
``…_view``      what it shows, a card each
``widgets``     parts that it is made of; ``linked_image.js``, ``file_drop.js``: those of the browser
``work``        the queue in which detectors run
``choices``     detectors to choose from, loaded when they are first used
``samples``     images to start with
``uploads``     reading what visitors send
``analysis``    one detector on one frame: score map, stages, detections
``pictures``    what the page shows, as PNG and SVG; ``charts``: as Plotly's figures
``download``    the results as a zip file
=============== =====================================================================

Only ``server``, ``page``, ``widgets`` and the views need the package nicegui.
"""
