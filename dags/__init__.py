"""When things run: eight Airflow DAGs without logic of their own.

A task is one call of the ``tidemill`` command in a process of its own; between tasks travel names and counts only::

    ingest      hourly    check_parameters → each fleet:     ingest → materialize     → asset telemetry.<fleet>
    materialize daily     check_parameters → behind → plan → runs → each run of dates: panes → each fleet: rows
    train       on demand check_parameters → each use case:  materialize → train      ← asset retrain.<use case>
    release     on alias  release → questions → ask, later → look_again               ← asset registry.champions
    approve     on asking check_parameters → ask → answered → keep → wake             → asset registry.champions
    monitor     daily     check_parameters → each use case:  monitor → decide         → asset retrain.<use case>
    upkeep      daily     check_parameters → each fleet:     upkeep
    metrics     5 min     metrics, where a file for it is named

Floor plan::

    ingest materialize train release approve monitor upkeep metrics   one DAG a file: form, tasks
    command        the operator: one call of the tidemill command, its log lines, its summary, its end, its buttons
    forms          the fields of the trigger forms, and what refuses values that no form has or that make no sense
    assets         names of the assets through which DAGs wake each other
    alias_watcher  the trigger that notices a moved alias in MLflow
    fleet          the Fleet page in Airflow, and its buttons; MLflow's webhook
    tracking       a client of MLflow's HTTP interface
    defaults       what all DAGs share: owner, timer, deadline, pool, urgency, who is told
    schedules      the table of when each DAG runs and by when it should be over
    notify         who is told when a run fails or is late: webhook, chat, mail
    pods           what a pod of a DAG's tasks is made of under the Kubernetes executor
    options        what people may choose about all of these, in tidemill.toml or the environment
    settings       the environment; connections of Airflow handed to the command as standard variables
    errors         TM-5xx

Example:
    >>> from dags.errors import ParameterError
    >>> str(ParameterError("'usecas' is no parameter", fix="use 'usecase'"))
    "'usecas' is no parameter. Fix: use 'usecase'"

Why so:
    * *A process per task*, not Python in the worker. Airflow never imports the training stack (a scheduler with MLflow
      and scikit-learn takes 300 MB more), the same command runs by hand, and a crash of native code is one failed task.
      Cost: about two seconds of imports a task.
    * *Events say only "look now".* Airflow merges asset events and drops those of paused DAGs. So a release compares
      what is desired with what is, and a training takes its window from parameters; a lost event costs time, no result.
    * *No run catches up*, because each does all that is due: after an outage one ingest takes in everything. Only
      ``materialize`` has a past, so only it can be backfilled: a run of last month would otherwise do today's work.
    * *Pools only where somebody names them.* A task in a pool that does not exist waits for ever without a word; so the
      default pool serves until ``[pools]`` names others, urgency decides there, and ``tidemill doctor`` looks.
    * *What a dead scheduler left running* is given up by the next one as late as five minutes after (Airflow's own
      default), and so long no release goes on. An Airflow of your own wants ``[scheduler] orphaned_tasks_check_interval
      = 30`` beside ``task_instance_heartbeat_timeout = 30``, as the stack of ``tidemill up`` has them.
    * *Tries again only what can end otherwise*: something was out of reach (exit code 3), somebody else was at work, or
      a signal came. A refused gate is a result, and a wrong parameter fails at once.
    * *One DAG a step with mapped fleets and use cases*, not a DAG per fleet: a new fleet or use case is one file in its
      catalogue and appears in the forms by itself.
"""
