"""Prediction in the cloud: one server, every model that is released for it, the Open Inference Protocol V2.

    TIDEMILL_STORE=s3://plant TIDEMILL_ROOT=/etc/tidemill/root.json tidemill-server
    curl http://127.0.0.1:8080/v2/models/pump_failure

Floor plan, from the outside in:

- ``command``: the console script; ``asgi``: bodies, limits and threads, under uvicorn;
- ``server``: a request's parts in, a response out, without a transport; ``protocol``: V2, pure;
- ``models``: which model answers, and how one replaces another while requests run; ``refresher``: the thread that
  makes them those that are released;
- ``recorder``: predictions on their way to the spool; ``meter``: counts for Prometheus.

Why so:
    *Bytes to bytes in the middle* costs an adapter of a hundred lines and makes every answer a function call in a test;
    another transport is another adapter.
    *Small requests on the event loop*: an inference of a row takes tens of microseconds, as long as handing it to a
    thread would. The cost is a limit (``asgi.INLINE_BYTES``) beyond which it is done after all.
    *No timer that collects requests into batches*: with one worker and tree models it only adds waiting.
    *Predictions are queued, not written, while the client waits*: an fsync takes a hundred times as long as the answer.
    The cost is that a crash (not a stop) loses a fifth of a second of records.
"""
