"""The lake: Delta tables beside the raw objects, in the same store.

A table is opened at one version, a `Snapshot`: what is read from it is one state, and what is written goes on top of
that very state or fails with `CommitConflictError`. A commit names its writer and a number that rises with each of the
writer's commits (a Delta application transaction); two processes that would commit the same number cannot both succeed,
which is what "ingested once" rests on.

Old versions stay readable for 30 days, and for good where a registered training names them (see `upkeep`).

Local commits are made durable (see `pipelines.durability`), which the table engine leaves out. What the tables hold
stands in `pipelines.tables`.

    engine.py      the table engine's errors in our words
    view.py        reading one version of a table
    actions.py     what the engine is told of files
    snapshot.py    committing on top of one version
    table.py       a table, whether or not it has been written yet
    compaction.py  many small files become few
    stock.py       what a table holds
    upkeep.py      compaction, checkpoint and vacuum of a table, once a day
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from features.catalog import load
from features.featureset import FeatureSet
from features.schema import Fleet
from pipelines import tables
from pipelines.errors import SettingsError
from pipelines.lake.compaction import CROWDED, compact
from pipelines.lake.snapshot import Snapshot
from pipelines.lake.table import Table
from pipelines.settings import storage_options

__all__ = ["CROWDED", "Lake", "Snapshot", "Table", "compact"]


class Lake:
    """The tables of one store.

    Args:
        store_uri: The store, as `serving.store.open_store` takes it: a folder or ``s3://bucket/prefix``.
        options: Storage options of the table engine; by default those of the environment.

    Raises:
        SettingsError: The store is of a kind that cannot hold tables.

    Example:
        >>> import tempfile
        >>> lake = Lake(tempfile.mkdtemp())
        >>> lake.telemetry("pumps").exists()
        False
    """

    def __init__(self, store_uri: str, options: Mapping[str, str] | None = None) -> None:
        scheme, separator, _ = store_uri.partition("://")
        if separator and scheme not in ("file", "s3"):
            raise SettingsError(
                "this store cannot hold tables", where=store_uri, fix="use a folder or s3://bucket/prefix"
            )
        if scheme == "file" or not separator:
            path = unquote(urlsplit(store_uri).path) if separator else store_uri
            store_uri, options = str(Path(path).expanduser().absolute()), {}
        self._root = store_uri.rstrip("/")
        self._options = dict(storage_options() if options is None else options)

    def telemetry(self, fleet: Fleet | str) -> "Table":
        """Accepted readings of a fleet; a name means that of the catalog."""
        return self._table(tables.telemetry(load(fleet).fleet if isinstance(fleet, str) else fleet))

    def withdrawn(self, fleet: Fleet | str) -> "Table":
        """Readings that were taken out of the telemetry of a fleet; a name means that of the catalog."""
        return self._table(tables.withdrawn(load(fleet).fleet if isinstance(fleet, str) else fleet))

    def events(self, fleet: Fleet | str) -> "Table":
        """What happened to the devices of a fleet; a name means that of the catalog."""
        return self._table(tables.events(load(fleet).fleet if isinstance(fleet, str) else fleet))

    def panes(self, features: FeatureSet) -> "Table":
        """Panes that a feature set is computed from."""
        return self._table(tables.panes(features))

    def features(self, features: FeatureSet) -> "Table":
        """Rows of a feature set."""
        return self._table(tables.features(features))

    def devices(self, features: FeatureSet) -> "Table":
        """How far the panes of each device reach that a feature set was computed from."""
        return self._table(tables.devices(features))

    def predictions(self, usecase: str) -> "Table":
        """Predictions of a use case, of every placement."""
        return self._table(tables.predictions(usecase))

    def outcomes(self, usecase: str) -> "Table":
        """What came of the predictions of a use case, by their ids."""
        return self._table(tables.outcomes(usecase))

    def _table(self, layout: tables.Layout) -> "Table":
        return Table(f"{self._root}/lake/{layout.path}", layout, self._options)
