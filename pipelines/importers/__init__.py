"""Public data sets and tables of one's own become raw objects, as an IoT hub would have written them.

An importer only writes under ``raw/<fleet>/``; from there on the data takes the road of all telemetry: ingest,
validation, quarantine, features. Floor plan:

- ``rows``      text files, plain or gzipped, row by row, with the place of whatever cannot be read
- ``azure_pdm``, ``backblaze``, ``cmapss``, ``femto``, ``nab``, ``occupancy``, ``skab``: what each set leaves open,
  and how it is read; each yields `arrivals.Reading` and `arrivals.Report`
- ``cmapss_columns`` which column is which; ``spells`` a state that lasts, as a pair of events
- ``mapped``    the same for CSV and Parquet files that a mapping file describes; ``verbatim`` copies files as they are
- ``faults``    what a network does to messages: late, twice, overtaken, spoilt
- ``arrivals``  sorts messages by the hour they arrive in, however many there are, and writes what is not there yet
- ``hub``       the one writer of raw objects
- ``sources``   where each set comes from, its terms, and whom to cite

Why so:

- *An importer that wrote tables directly would leave the ingest untested on real data* (accepted).
- *Labels are events* (accepted): what people said about the data later, such as anomalies or a room in use, is told by
  pairs of events, ``<state>_begin`` and ``<state>_end``, which become known later than they happened. As signals they
  would be one careless line of a feature set away from a model that sees its own label.
"""
