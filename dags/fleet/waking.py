"""Have the DAG release look now, as the user who asked for it."""

import logging

from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.api_fastapi.core_api.routes.public.dag_run import trigger_dag_run
from airflow.models.dag import DagModel
from airflow.models.dagbag import DBDagBag
from airflow.utils.session import create_session
from fastapi import Request

from dags.fleet.access import RELEASE, User
from dags.fleet.control import Woken

_LOG = logging.getLogger(__name__)


def wake(request: Request, user: User, note: str) -> Woken:
    """Trigger a run.

    What was wanted is written already and will be seen by any later run, so a failure here is told and not raised.
    """
    try:
        with create_session(scoped=False) as session:
            body = TriggerDAGRunPostBody(logical_date=None, note=note[:1000])
            run = trigger_dag_run(RELEASE, body, DBDagBag(), user, session, request)
            model = session.get(DagModel, RELEASE)
            return Woken(str(run.run_id), bool(model and model.is_paused))
    except Exception as error:  # noqa: BLE001 - see above; what may go wrong in there is Airflow's own
        _LOG.warning("the DAG %s could not be triggered: %r", RELEASE, error)
        return Woken()
