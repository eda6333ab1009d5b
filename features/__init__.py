"""What a model sees: telemetry of a fleet becomes features, the same in the batch job, on late data and on a gateway.

    >>> from datetime import timedelta
    >>> import numpy as np
    >>> from features import batch, catalog, online, panetable
    >>> features = catalog.load("pumps").features
    >>> times = np.arange(1500) * 60_000_000
    >>> values = np.random.default_rng(7).uniform(1.0, 20.0, (1500, 6))
    >>> stored = batch.feature_rows(features, panetable.panes_of(features, np.zeros(1500, np.int32), times, values))
    >>> stream = online.OnlineFeatures(features, timedelta(0)).update(["P-1"] * 1500, times, values)
    >>> np.allclose(stored.values[:1], stream.values, rtol=1e-9, equal_nan=True)
    True

Floor plan, from the ground up; each module imports only from those before it:
    errors.py       what can go wrong, with codes (the root of every error of the project lives here)
    kernel/         panes and bursts in C99, its Python binding, and the numpy reference beside it
    burst.py        samples at kHz become one reading of derived signals
    regime.py       readings compared with what is usual under the same operating condition
    path.py         where a value stands in a record
    zone.py         zones of times that name none
    mapping.py      where device, times, sequence and signals stand: how telemetry is written down
    signal.py       one measured quantity, its unit and range
    reason.py       why a reading is not believed
    quotes.py       numbers that stand in quotes
    unknown.py      fields of a record that the mapping names nowhere
    schema.py       fleets and signals, and the one judge of which readings are believed
    pane.py         mergeable summaries of readings, and their laws
    statistic.py    what is read off a pane; the recipe for a new statistic
    feature.py      the kinds of features there are
    event.py        what happened to devices, counted from when it was known
    window.py       panes merged to windows of fixed length
    sketch.py       quantiles by a mergeable sketch
    tally.py        sketches of windows
    running.py      windows that grow from an event on
    plan.py         from panes and events to feature rows
    featureset.py   which features, with names and a digest over every parameter
    panetable.py    readings of many devices to panes, by columns
    batch.py        features of stored telemetry
    snapshot.py     arrays and a book in one block of bytes that tells when it is damaged
    roster.py       names of a stream's devices and their codes
    eventlog.py     the events of a stream that rows to come still speak of
    ring.py         what a stream remembers of its devices, in flat arrays
    onlinerows.py   rows as a stream gives them out
    online.py       features of a stream
    description.py  what each feature says, in words
    catalog/        the fleets and feature sets in use: what a data scientist edits

How to add a statistic, in ten minutes: the middle between the extremes, say.
    1. ``features/statistic.py``: write ``_midrange(state, window_us)``, which returns
       ``(field(state, "low") + field(state, "high")) / 2``, and enter it in ``STATISTICS`` with a sentence and a unit.
    2. ``tests/parity/oracle.py``: enter in ``ORACLES`` what it is of raw readings, in plain Python.
    3. ``pipelines/graph/statistic.py``: enter its form in ``FORMS``, the same formula over ``window["low"]``.
    4. ``pytest -k midrange tests``: every path there is, from the batch to ONNX, was collected by itself.
    5. Name it in a feature set in ``catalog/``. When it is worth a twin in C, ``features.statistic`` says.

Why so:
    * Panes between readings and windows. Status: accepted. Panes merge, so a file, a day or a late reading is summed up
      on its own, and every window is made of the same panes wherever it is computed. Cost: windows are whole panes, and
      statistics that do not merge are not offered; a spectrum is taken within one record.
    * numpy and C only. Status: accepted. The same package runs on a gateway of 130 MB. Cost: frames are converted at
      the border, in ``pipelines``.
"""
