"""The pane: a mergeable summary of one signal of one device in one fixed interval."""

PANE_VERSION = 1
PANE_FIELDS = (
    "count",
    "nulls",
    "sum",
    "square",
    "time",
    "time_square",
    "time_value",
    "low",
    "high",
    "first",
    "first_at",
    "last",
    "last_at",
)
