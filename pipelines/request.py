"""What a training is asked for. Light: whoever starts trainings builds one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Progress = Callable[[str, int, int], None]
"""Told a stage, how much of it is done, and of how much."""
Tell = Callable[[str], None]
"""Told in a few words how a stage goes on."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def unheard(_text: str) -> None:
    """Words that nobody hears."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What may differ from training to training.

    Attributes:
        since: First window end to learn from, UTC microseconds; None for all there is.
        until: The present to act in: nothing that became known later is used; None for now.
        estimator: Another one than the use case names, or ``"automatic"``: a search decides.
        budget_s: Seconds to search for better parameters, of all who take part together.
        seed: Decides held-out devices, fits and searches.
        note: Why this training; shown with the run.
        trigger: What started it, for the name of the run.
        origin: Tags that lead back to whoever started it, such as ``airflow.url``.
        study: A name that those share who search together: all of them read the same versions of the tables.
    """

    since: int | None = None
    until: int | None = None
    estimator: str | None = None
    budget_s: float = 0.0
    seed: int = 0
    note: str = ""
    trigger: str = "manual"
    origin: Mapping[str, str] = field(default_factory=dict)
    study: str = ""
