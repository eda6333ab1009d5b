"""Run one DAG for real in this process and print what came of it: ``python -m tests.fakes.airflow_run train '{}'``.

A process of its own, because Airflow reads its configuration once and for all when it is imported.
"""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.xcom import XComModel
from airflow.settings import Session
from sqlalchemy import select

DAGS = Path(__file__).resolve().parents[2] / "dags"


def main(dag_id, conf):
    """Run it and print state, tasks, returned values and asset events as one line of JSON."""
    run = DagBag(str(DAGS)).dags[dag_id].test(run_conf=conf)
    session = Session()
    returned = select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "return_value")
    events = select(AssetModel.name, AssetEvent.extra).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
    print(
        json.dumps(
            {
                "state": run.state,
                "tasks": {f"{ti.task_id}:{ti.rendered_map_index or ''}": ti.state for ti in run.get_task_instances()},
                "returned": {entry.task_id: entry.value for entry in session.scalars(returned)},
                "events": [[name, extra] for name, extra in session.execute(events)],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
