"""From stored telemetry to a registered, gated version.

    raw objects -> telemetry, events -> panes -> feature rows -> data set -> candidate -> gate -> registered version
                                                                     predictions -> monitoring -> train again?

    >>> import tempfile
    >>> from features.catalog import load
    >>> from pipelines.importers.hub import RawWriter
    >>> from pipelines.ingest import ingest
    >>> from pipelines.lake import Lake
    >>> from serving.store import open_store
    >>> store, pumps = open_store(tempfile.mkdtemp()), load("pumps")
    >>> messages = [{"device": "pump-1", "ts": 1764000000000, "values": {"flow": 120.5}}]
    >>> RawWriter(store, "pumps").write_telemetry("hub-1", 1764000060000000, messages)
    'raw/pumps/telemetry/2025/11/24/16/hub-1.json.gz'
    >>> ingest(store, Lake(store.uri), pumps.fleet, now_us=1764000120000000).accepted
    1

Rooms, from the door inwards:

    settings                                        where things are; reads the environment
    importers                                       public data sets become raw objects
    formats salvage records rejects validate events raw objects become accepted rows and rejects
    probing                                         the first look at an object, and a draft of its mapping
    listing fetching notices                        which objects there are, read many at a time, and hints of new ones
    ingest alone arrivals batches                   each object once, in batches
    reading streams ledger past                     what is read of them, and written down before and after
    unique compose standing settling merge          each reading once, in one record or many
    former amend withdrawn                          whatever is written again
    quarantine replay diagnosis                     each reject kept, understood, and taken in once it is repaired
    datareport findings witness datapage ingestmetrics  what came in, told as figures, a page and counters
    lake tables durability probe                    Delta tables in the object store, and whether it can carry them
    datafile depot excerpt                          the files of a table, where they lie, and parts of them
    materialize refresh rowstage reach panerows     rows become panes and features, only where something changed
    extent happened growth changes                  how far devices reach, what happened, came before, and is new
    touched                                         what a change touched, from panes to predictions
    partitions piecework partial spark              the same in parts: by many processes, or by the executors of Spark
    windows labels split dataset usecases rules     what is asked, and what a training learns from and is judged on
    estimators links fitting                        kinds of model, fitted and calibrated
    searching tuning judging study chosen           a search for the best, alone or shared, and what it decided
    export candidate reference                      and built into the very bundle that will serve
    regimes                                         what is usual under which operating condition, from training data
    graph                                           panes to features, and to the score, as one ONNX graph
    tasks intervals                                 how answers to each kind of question are judged, and how surely
    examine answers parity sensitivity footprint    look at the bundle from all sides
    leak cutoff                                     whether its figures are borrowed, from overlap or from the future
    slices stability calibration                    how it does part by part and stretch by stretch, and at its word
    gate verdict cautions                           judge it, and say what to watch
    report reportfile charts curves timeline        tell of it on one page, and as JSON
    training request history                        the whole training, what it is asked for, what it reads
    recording trialpicture registry registration    what it leaves in the registry
    rows environment rebuild                        a training set again, the same to the last byte
    predictions predictionlog watched outcomes      what was predicted, and what came of it
    drift slicedrift signals soundness              how far inputs and scores have moved, and what is merely broken
    monitor monitorreport retraining decisions      whether to train again, and why
    shadow shadowing automatic                      a challenger on the champion's windows, and what may follow

Why so:
    * The store is the truth. Status: accepted. What happened is in the raw objects and the ledger; tables and features
      can be made again from them. Cost: raw objects must be kept.
    * Delta tables without a cluster. Status: accepted. Atomic commits and time travel in a plain folder or bucket,
      readable by Spark, DuckDB and Polars. Cost: 128 MB of table engine, on the platform side only.
    * No scheduler and no jars of our own. Status: accepted. Where one machine is outgrown, Spark or Airflow deals out
      pieces of work: names of files go to workers, names of files come back, one commit names them. So any cluster that
      runs Python will do, and no row passes through the driver. Cost: dates are made anew as a whole.
    * A task is one call. Status: accepted. Every step takes its ports and its clock as arguments, so that a scheduler,
      a command and a test call the same function. Cost: long argument lists at the top.
"""
