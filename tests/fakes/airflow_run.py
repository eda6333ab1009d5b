"""Run DAGs for real, one after the other, and print what came of each: ``python -m tests.fakes.airflow_run MARK``.

A process of its own, because Airflow reads its configuration once and for all when it is imported; one for many runs,
because that takes seconds. Each line of standard input is a run: ``{"dag": …, "conf": {…}, "environ": {…}}``; the line
that begins with the mark says how it ended.
"""

import json
import os
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.xcom import XComModel
from airflow.settings import Session
from sqlalchemy import select

DAGS = Path(__file__).resolve().parents[2] / "dags"


def main(mark):
    """Run each line's DAG and print state, tasks, returned values and asset events as one line of JSON."""
    dags = DagBag(str(DAGS)).dags
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.update(asked["environ"])
        print(f"\n{mark}{json.dumps(run(dags[asked['dag']], asked['conf']))}", flush=True)
        for name in asked["environ"]:
            del os.environ[name]


def run(dag, conf):
    run = dag.test(run_conf=conf)
    session = Session()
    returned = select(XComModel).where(XComModel.run_id == run.run_id, XComModel.key == "return_value")
    events = select(AssetModel.name, AssetEvent.extra).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
    return {
        "state": run.state,
        "tasks": {f"{ti.task_id}:{ti.rendered_map_index or ''}": ti.state for ti in run.get_task_instances()},
        "returned": {entry.task_id: entry.value for entry in session.scalars(returned)},
        "events": [[name, extra] for name, extra in session.execute(events)],
    }


if __name__ == "__main__":
    main(sys.argv[1])
