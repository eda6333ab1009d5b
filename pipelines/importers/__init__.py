"""Public data sets become raw objects, as an IoT hub would have written them.

An importer only writes under ``raw/<fleet>/``; from there on the data takes the road of all telemetry: ingest,
validation, quarantine, features. `hub` is the writer they share.

Why so: an importer that wrote tables directly would leave the ingest untested on real data.
"""
