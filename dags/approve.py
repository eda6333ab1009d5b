"""Ask a person whether a release may go to its next stage, and write down the answer."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import DAG, Context, Param, get_current_context, task

from dags import assets, defaults, forms
from dags.command import CommandOperator
from pipelines import usecases

DOC = f"""
#### What
Asks whether a version may go to the next stage of its rollout, and keeps the answer, signed, with name and
reason. No answer in time counts as no; *Required Actions* of Airflow lists what is asked.
#### When
A release run starts it, where a use case asks for approvals (`Rollout(approval=…, two_people=…)`).
#### In and out
Reads the [version in MLflow]({defaults.REGISTRY}).
Writes `ledger/approvals/…`; the next release run follows it. If the alias was moved meanwhile, the answer is not kept:
the task `keep` is skipped, and its log says what waits now.
#### If it fails
Answer by `tidemill approve <use case> --by NAME --reason …`. A no can be followed by a yes.
"""
NOTHING_WAITS = "TM-265"
FORM = {
    "usecase": forms.usecase(usecases.names()),
    "version": Param("", type="string", title="Version", description="Version that waits, as MLflow numbers it."),
    "number": Param(0, type="integer", minimum=0, title="Release", description="Number the release has or will have."),
    "stage": Param(0, type="integer", minimum=0, title="Stage", description="Stage that waits, from 1."),
    "gateways": Param("", type="string", title="Gateways", description="How far it has come.", section=forms.MORE),
    # Not "reason": the field in which people answer has that name, and would begin with what this one says.
    "waits": Param("", type="string", title="Why", description="What is waited for.", section=forms.MORE),
}
PAGE = f"{defaults.REGISTRY}/{{{{ params.usecase }}}}/versions/{{{{ params.version }}}}"
BODY = f"""
[Version {{{{ params.version }}}} of {{{{ params.usecase }}}} in MLflow]({PAGE}) has its report and its gate.

Why you are asked: {{{{ params.waits }}}}.
{{% if params.gateways %}}Gateways now{{% if params.stage == 1 %}}, with what is released before it{{% endif %}}:
{{{{ params.gateways }}}}.{{% endif %}}

Your name and your reason go into the promotion ledger. Where it takes two people, you must not be the one who promoted.
"""


class Question(ApprovalOperator):
    """Airflow's approval, with the time to answer that the use case declares, and a no that is written down too."""

    def execute(self, context: Context) -> Any:
        """Ask."""
        self.response_timeout = usecases.load(context["params"]["usecase"]).rollout.answer_within
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Hand on the answer: a no skips nothing, because it is kept like a yes."""
        return HITLOperator.execute_complete(self, context, event)


def words(params: Mapping[str, Any], answer: Mapping[str, Any], waited: timedelta) -> list[str]:
    """Return the command that keeps an answer.

    Example:
        >>> params = {"usecase": "pump_failure", "version": "4", "number": 8, "stage": 2}
        >>> said = {"chosen_options": ["Reject"], "params_input": {"reason": "not today"},
        ...         "responded_by_user": {"id": "7", "name": "ben"}}
        >>> words(params, said, timedelta(days=1))
        ['approve', 'pump_failure', '--question=8-2', '--version=4', '--by=ben', '--reason=not today', '--decline']
        >>> words(params, {"chosen_options": ["Reject"]}, timedelta(days=1))[4:]
        ['--by=nobody', '--reason=no answer within 24 h', '--decline']
    """
    person = answer.get("responded_by_user")
    name = str(person.get("name") or person["id"]) if person else "nobody"
    reason = (
        str((answer.get("params_input") or {}).get("reason") or "")
        if person
        else f"no answer within {waited / timedelta(hours=1):g} h"
    )
    asked = [f"--question={params['number']}-{params['stage']}", f"--version={params['version']}"]
    declined = answer["chosen_options"] != [ApprovalOperator.APPROVE]
    return ["approve", params["usecase"], *asked, f"--by={name}", f"--reason={reason}", *["--decline"] * declined]


with DAG(
    "approve",
    dag_display_name="Approve a stage",
    description="A person says whether a release may go on",
    doc_md=DOC,
    schedule=defaults.timer("approve"),
    catchup=False,
    max_active_runs=16,
    allowed_run_types=defaults.NO_BACKFILL,
    deadline=defaults.deadline("approve"),
    params=FORM,
    tags={"tidemill", "stage:release"},
    owner_links=defaults.OWNER_LINKS,
    default_args=defaults.task_defaults("approve"),
):

    @task
    def check_parameters() -> None:
        """Refuse unknown parameters."""
        forms.check(get_current_context(), FORM)

    ask = Question(
        task_id="ask",
        subject="Release {{ params.number }} of {{ params.usecase }}: version {{ params.version }} to stage "
        "{{ params.stage }}?",
        body=BODY,
        defaults=ApprovalOperator.REJECT,
        params={"reason": Param("", type="string", title="Reason", description="Why; goes into the ledger.")},
    )

    @task(map_index_template="answer")
    def answered(answer: Any) -> list[list[str]]:
        """Return what is to be kept."""
        params = get_current_context()["params"]
        return [words(params, answer, usecases.load(params["usecase"]).rollout.answer_within)]

    keep = CommandOperator.partial(task_id="keep", skip_on=[NOTHING_WAITS], **defaults.RETRY).expand(
        words=answered(ask.output)
    )

    @task(outlets=[assets.CHAMPIONS])
    def wake() -> None:
        """Let the release follow the answer."""

    check_parameters() >> ask
    keep >> wake()
