"""When things run: five Airflow DAGs without logic of their own.

A task is one call of the ``tidemill`` command in a process of its own; between tasks travel names and counts only::

    ingest    hourly      check_parameters → each fleet:     ingest → materialize     → asset telemetry.<fleet>
    materialize  on demand  check_parameters → plan → runs → each run of dates: panes → rows
    train     on demand   check_parameters → each use case:  materialize → train        ← asset retrain.<use case>
    release   on alias    release                                                       ← asset registry.champions
    monitor   daily       check_parameters → each use case:  monitor → decide          → asset retrain.<use case>

Floor plan::

    ingest materialize train release monitor   one DAG a file: form, schedule, tasks
    command        the operator: one call of the tidemill command, its log lines, its summary, its end
    forms          the fields of the trigger forms, and the task that refuses what no form has
    assets         names of the assets through which DAGs wake each other
    alias_watcher  the trigger that notices a moved alias in MLflow
    fleet          the Fleet page in Airflow, and its buttons
    tracking       a client of MLflow's HTTP interface, for the two
    settings       connections of Airflow handed to the command as standard variables
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
    * *One DAG a step with mapped fleets and use cases*, not a DAG per fleet: a new fleet or use case is one file in its
      catalogue and appears in the forms by itself.
"""
