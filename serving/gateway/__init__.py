r"""Prediction at the edge gateway: beside the machines, on little memory, with or without a network.

    TIDEMILL_STORE=s3://plant TIDEMILL_ROOT=/etc/tidemill/root.json TIDEMILL_GATEWAY_NAME=gw-7 \
    TIDEMILL_GATEWAY_USECASE=pump_failure tidemill-gateway run
    curl --data-binary @readings.jsonl http://127.0.0.1:8090/telemetry

Floor plan, from the outside in:

- ``command``: the console script; ``agent``: the one loop, and what it does when;
- ``updates``: what is released, as far as it can be trusted; ``installation``: the steps from one release to the next,
  on top of ``slots`` (two places on disk, one pointer) and ``trial`` (the first run, in a child with limits);
- ``endpoint`` and ``mqtt``: where telemetry comes in; ``telemetry``: its way to predictions and alerts, from
  ``records`` (bytes to believed readings) to ``scoring`` (rows to predictions); ``counts``: what became of it;
- ``state``: the one folder that is written to; ``status``: what the gateway says about itself; ``errors``: TM-27x.

What lies in the state folder: ``slots/<use case>`` bundles, ``memory/<use case>`` running features and alerts,
``spool`` predictions on their way, ``updates`` signed metadata that was seen, ``address``, ``lock``.

Why so:
    *A child process for the first run of a model* costs a second for each release and makes running out of memory, or
    a crash of the runtime, a line in the journal instead of a dead gateway.
    *Nothing is asked of the store at the start*: what is on the disk answers first. The cost is that a withdrawal
    reaches a gateway only when it reaches the store.
    *Running features are saved every minute, not with each reading*: flash lives longer. The cost is that a crash
    loses the readings since the last save from the features, unless their sender repeats them; readings reach training
    by their own way, and predictions are durable at once.
    *Features are computed again from nothing when a release sees other ones*: predictions pause for the longest window.
    Computing both side by side would double the memory of every gateway for the sake of a rare release.
    *The pane kernel, not a database*: what must be remembered of a device is a few hundred numbers.
"""
