"""Measured comparisons: `make bench-features`, `make bench-ingest`, `make bench-quality`.

    fleet.py      the fleet that is measured
    telemetry.py  its readings, written by the lake itself
    stopwatch.py  what a measured process reports of itself: wall, CPU seconds of its process tree, peak memory
    ours.py       our jobs, each measured in a process of its own
    peers.py      the same jobs in other libraries, each in its best idiom; runs in build/bench-env
    slices.py     peers that compute in Python, on a slice
    runs.py       starts measured processes, interleaved, and keeps what they report
    bursts.py     what a burst of samples costs
    agreement.py  whether all of them computed the same numbers
    table.py      rows with goals: JSON, and a table for the terminal
    figures.py    the pictures
    features.py   the benchmark of the feature kernel, put together
    raw.py        raw objects of the fleet, as a hub writes them
    ingested.py   our ingest of them, each job measured in a process of its own
    parsers.py    libraries that only parse them; scans.py, that only read them where they are Parquet
    ingest.py     the benchmark of ingest, put together
    protocol.py   how a public set is brought from its files to scores
    quality_lives.py  the protocols of engines, machines and bearings
    quality.py    the benchmark of the use cases, put together

Imports and interpreter start are not measured: a job begins when its libraries are loaded and ends with its result in
memory. Ratios compare runs of one sitting, interleaved, because the speed of a shared machine changes by the minute.
"""
