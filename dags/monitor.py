"""Look at what the models in use predicted, and ask for a new one where they have become worse."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group

from dags import assets, defaults, forms
from dags.command import CommandOperator
from pipelines import usecases

DOC = """
#### What
Joins predictions with the failures known by now, tells broken sensors and clocks apart from drift, measures
how much inputs and scores have moved from training, and decides whether to train anew. Each decision explains itself. A
challenger is compared with the version in use on the same windows; its version in MLflow says how it does.
#### When
Daily, at 04:23 UTC; or trigger it for one use case.
#### In and out
Reads `predictions/<use case>/…`, `lake/<fleet>/events`.
Writes `lake/<use case>/predictions`, `lake/<use case>/outcomes`, `reports/monitoring/<use case>/…`,
`reports/shadow/<use case>/…`, `ledger/retraining/<use case>/…`, and asset `retrain.<use case>` when it is yes.
#### If it fails
Run it again: predictions are loaded once, and on the same day the same evidence gets the same answer; what
has changed since, such as labels that came at noon, is decided anew. Without MLflow it decides all the same and says
that no challenger was compared.
"""
FORM = {"usecase": forms.any_usecase(usecases.names())}


def wake(name: str, seen: Mapping[str, Any], outlet_events: Any) -> str:
    """Send the event that trains a use case anew, with its reasons, if monitoring asks for it; return the decision."""
    if seen["retrain"]:
        outlet_events[assets.RETRAIN].add(assets.retrain(name), extra={"reasons": list(seen["reasons"])})
    return str(seen["sentence"])


with DAG(
    "monitor",
    dag_display_name="Monitor predictions",
    description="Quality and drift of the models in use, and the decision to retrain",
    doc_md=DOC,
    schedule=defaults.timer("monitor"),
    catchup=False,
    max_active_runs=1,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("monitor"),
    params=FORM,
    tags={"tidemill", "stage:monitor"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("monitor"),
):

    @task
    def check_parameters() -> list[str]:
        """Refuse unknown parameters; return the use cases to look at."""
        usecase = forms.check(get_current_context(), FORM)["usecase"]
        return [usecase] if usecase else list(usecases.names())

    @task(outlets=[assets.RETRAIN], map_index_template="{{ task.op_kwargs['name'] }}")
    def decide(name: str, seen: Any) -> str:
        """Wake the training if monitoring asks for it."""
        return wake(name, seen, get_current_context()["outlet_events"])

    @task_group(prefix_group_id=False)
    def usecase(name: str) -> None:
        """Look at one use case."""
        monitor = CommandOperator(
            task_id="monitor",
            words=["monitor", name],
            map_index_template="{{ task.words[1] }}",
            **defaults.RETRY,
        )
        decide(name=name, seen=monitor.output)

    usecase.expand(name=check_parameters())
