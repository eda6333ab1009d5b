"""Labels: what a model is asked, and from which moment on the answer to each window is known.

    label.py    what every label has
    events.py   what happened to devices, and when that became known
    failure.py  does this device fail within a horizon?               a probability
    life.py     how long until it fails?                              a quantity, capped
    state.py    in which state is it now?                             a probability
    anomaly.py  does it behave otherwise than it usually does?        an anomaly score, learned without answers
    forecast.py what will a feature be, a while from now?             a quantity

    >>> from datetime import timedelta
    >>> FailureWithin(timedelta(hours=24)).name
    'failure_within_24h'

A label is given as of a moment, ``known_until``: nothing that became known later gets into it, whenever it happened. A
window whose answer was not known by then has label NaN. So a training set of last month can be made again, labels that
come late are joined when they are known, and the labels of the training part are those of the moment of the split.

Why so:

- *Censoring is the label's business* (accepted). Whether a device that has not failed yet says anything depends on the
  question: for ``FailureWithin`` silence is an answer once the horizon is over, for ``RemainingLife`` once the cap is.
- *Events, not signals* (accepted). What people said about devices comes as events with the time they became known. A
  signal could get into a feature, and the model would see its own answer.
"""

from pipelines.labels.anomaly import Anomaly
from pipelines.labels.events import Events
from pipelines.labels.failure import FailureWithin
from pipelines.labels.forecast import Forecast
from pipelines.labels.label import Label, Question
from pipelines.labels.life import RemainingLife
from pipelines.labels.state import State

__all__ = ["Anomaly", "Events", "FailureWithin", "Forecast", "Label", "Question", "RemainingLife", "State"]
