"""Tell that the water loop of the Skoltech testbed behaves otherwise than when its run began.

Learned from the first 400 s of each run, as the benchmark asks, and from the run that its makers declare free of
anomalies; what people told of anomalies only serves to judge.
"""

from datetime import timedelta

from pipelines.labels import Anomaly
from pipelines.rules import GateRules
from pipelines.split import Split
from pipelines.usecases import UseCase

USECASE = UseCase(
    name="process_anomaly",
    title="Water loop behaves unusually",
    fleet="skab",
    label=Anomaly(normal=timedelta(seconds=400), begin="run", usual="normal"),
    estimator="pca",
    # The run without anomalies is at four times the flow: a normal operation of its own.
    parameters={"variance": 0.95, "modes": 2},
    # Whatever is not learned from is judged; there is one testbed, and every run begins with its own normal operation.
    split=Split(test_devices=0, test_time=0),
    gate=GateRules(limits={"f1": 0.7, "false_alarm_rate": 0.2}, min_train_devices=1),
    placements=("cloud",),
)
