"""Trainings that cannot be, and a part of the sentence that says so: the same in the form, over the API, by command."""

from collections.abc import Mapping
from typing import Any

WRONG: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "dates the wrong way round": (
        {"since": "2026-02-01", "until": "2026-01-01"},
        r"since 2026-02-01 00:00 UTC is not before until 2026-01-01 00:00 UTC",
    ),
    "learning from what is still to come": ({"since": "2999-01-01"}, "since 2999-01-01 00:00 UTC is still to come"),
    "acting in the future": ({"until": "2999-01-01"}, "until 2999-01-01 00:00 UTC is still to come"),
    "an estimator for another question": ({"estimator": "pca"}, "estimator pca learns no probability"),
    "a search of ten days": ({"budget": 864_000}, "a search budget of 864,000 s is not between 0 and 86,400 s"),
    "a search of less than nothing": ({"budget": -60}, "a search budget of -60 s is not between 0 and 86,400 s"),
    "a seed of less than nothing": ({"seed": -1}, "seed -1 is not between 0 and 2,147,483,647"),
    "a seed that no estimator takes": ({"seed": 2**32}, "seed 4294967296 is not between 0 and 2,147,483,647"),
    "an average of failures": ({"estimator": "average"}, "estimator average learns no probability"),
}
