"""The composition root: the ``tidemill`` command, the embedded stack, the demo, the simulated fleet.

    $ tidemill simulate pumps --devices 4 --days 10
    $ tidemill ingest pumps
    $ tidemill status

Floor plan:

- ``cli`` the table of commands, exit codes; ``command`` how a command is made; ``console`` what is said to whom;
  ``parameters`` kinds of values; ``settings`` the environment
- ``commands_*`` the commands by group; each translates a call into one use case and its result into words
- ``codes`` every error code; ``doctor`` ``status`` ``explain`` ``lineage`` ``planning`` what commands find by looking
- ``pumps`` a simulated fleet
- ``stack`` the platform as processes of this machine, with ``parts``, ``process``, ``ports`` and Airflow's client
- ``demo`` the whole main job, shown

Why so:

- *One place decides* which store, registry and clock a use case gets (accepted). Use cases take them as arguments, so
  tests and DAGs choose others. Cost: this package may import everything and nothing may import it.
- *Commands load when called* (accepted). The table of commands repeats their summaries, so ``tidemill --help`` imports
  click alone and costs 60 ms of processor time; MLflow alone would cost 6 s. Cost: a test keeps the two in step.
- *Errors are rendered once* (accepted). Commands raise, ``cli.run`` turns everything into four parts, a code and an
  exit code. Cost: a command cannot go on after an error; what should go on is a value, not an exception.
"""
