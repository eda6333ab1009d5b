"""Look after the tables of the lake: few files, short logs, no files that nobody needs."""

from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from dags import defaults, forms
from dags.command import CommandOperator
from features import catalog

DOC = """
#### What
Merges small files date by date, writes checkpoints, and removes files and log entries that no version of the
last 30 days and no registered training needs. Verifies the ledger of promotions and the bundles of serving versions.
#### When
Daily, at 02:41 UTC (`[schedules]` changes that); or trigger it for one fleet.
#### In and out
`lake/<fleet>/…`. Raw objects, the ledger and the quarantine are never touched.
#### If it fails
Run it again: tables change by whole commits. `tidemill lake upkeep <fleet> --dry-run` says what it
would remove; while MLflow does not answer, tables that trainings name are not vacuumed.
"""
FORM = {"fleet": forms.fleet(catalog.names(), "The fleet whose tables are looked after. Empty: every fleet.")}


with DAG(
    "upkeep",
    dag_display_name="Look after tables",
    description="Small files merged, logs summed up, files removed that no version needs",
    doc_md=DOC,
    schedule=defaults.timer("upkeep"),
    catchup=False,
    max_active_runs=1,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("upkeep"),
    params=FORM,
    tags={"tidemill", "stage:upkeep"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("upkeep"),
):

    @task
    def check_parameters() -> list[list[str]]:
        """Refuse unknown parameters; return the words of the command for each fleet."""
        fleet = forms.check(get_current_context(), FORM)["fleet"]
        return [["lake", "upkeep", name] for name in ([fleet] if fleet else catalog.names())]

    CommandOperator.partial(task_id="upkeep", map_index_template="{{ task.words[2] }}", **defaults.RETRY).expand(
        words=check_parameters()
    )

    @task
    def sound(found: Any) -> None:
        """Fail where the ledger of promotions was changed: somebody has to look."""
        if bad := [f"{each['usecase']}: {each['problem']}" for each in found["usecases"] if each["problem"]]:
            raise AirflowFailException("; ".join(bad))

    sound(CommandOperator(task_id="ledger", words=["ledger", "verify"], **defaults.RETRY).output)
    CommandOperator(task_id="verify", words=["release", "--verify"], **defaults.RETRY)
