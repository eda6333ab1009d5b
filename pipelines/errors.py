"""Everything that can go wrong between stored telemetry and a registered version.

Codes are given by room, so that two rooms never take the same one: 301-319 settings, store, lake, ingest and features;
320-339 data sets, training and gate; 340-349 registry; 350-359 monitoring; 360-369 importers.
"""

from typing import ClassVar

from features.errors import TidemillError


class PipelineError(TidemillError):
    """A step between stored telemetry and a registered version could not be done."""

    code: ClassVar[str] = "TM-300"


class SettingsError(PipelineError):
    """A setting is unknown or cannot be used.

    Settings come from a flag, a TIDEMILL_* variable, the project file tidemill.toml or a default, in this order.
    A misspelt name would silently leave the default in force, so unknown names are errors; all are listed at once.
    """

    code: ClassVar[str] = "TM-301"
    exit_code: ClassVar[int] = 2


class NothingStoredError(PipelineError):
    """There is nothing to read under the prefix of this fleet.

    Either no device has written yet, or the store or the fleet is not the one that was meant.
    """

    code: ClassVar[str] = "TM-302"


class IngestRunningError(PipelineError):
    """Another ingest of the same fleet is at work.

    Nothing is lost: what this run would have taken, the other one or the next one takes. The lock belongs to the
    process that holds it and goes with it, so it never has to be removed by hand.
    """

    code: ClassVar[str] = "TM-303"


class LakeError(PipelineError):
    """A table of the lake could not be opened, read or written.

    The sentence carries what the table engine said. Tables change only by whole commits, so a failed write left the
    table as it was and the run can be repeated.
    """

    code: ClassVar[str] = "TM-304"
    exit_code: ClassVar[int] = 3


class TableMissingError(PipelineError):
    """A table is asked for that no run has written yet, or a version of it that does not exist, or not any more.

    Upkeep removes versions after 30 days unless a version registered in MLflow learned from them. Only a backup of the
    table's folder brings one back; a model whose training set is gone still serves, but cannot be rebuilt.
    """

    code: ClassVar[str] = "TM-305"


class CommitConflictError(PipelineError):
    """Two writers changed the same table at the same time and this one came second.

    The table holds the work of the first, whole; this run wrote nothing. Run it again.
    """

    code: ClassVar[str] = "TM-306"


class LedgerError(PipelineError):
    """The ledger of ingested objects does not fit the table.

    The ledger says which objects each commit of the table is made from. An intent that cannot be read means that
    somebody changed the store by hand, or that a disk lies: restore the object from a backup or a former version. The
    run stops before it could lose a reading.
    """

    code: ClassVar[str] = "TM-307"


class QuarantineError(PipelineError):
    """A quarantined batch was named that does not exist or cannot be read."""

    code: ClassVar[str] = "TM-308"


class UnsafeStoreError(PipelineError):
    """Several writers may share this store, and it does not keep its promise to them.

    Ledgers rest on a conditional write that only one of several writers wins. This service lets more than one win, so
    two runs at once could take in a reading twice or lose a release. Use a service with true conditional writes
    (`tidemill doctor` tells), or give `--single-writer` and make sure yourself that one process writes at a time.
    """

    code: ClassVar[str] = "TM-314"
    exit_code: ClassVar[int] = 2


class HorizonError(PipelineError):
    """Old files were to be removed that somebody may still be reading.

    A table's removed files are kept for a while, so that runs at work find them and former versions can be opened. The
    horizon is at least seven days.
    """

    code: ClassVar[str] = "TM-309"
    exit_code: ClassVar[int] = 2


class EngineMissingError(PipelineError):
    """The Spark engine was asked for and cannot be started here.

    It needs the package pyspark, which `make spark` installs from the lock file, and a Java 17 or newer. Without them
    the local engine does the same work: leave out `--engine spark`.
    """

    code: ClassVar[str] = "TM-315"
    exit_code: ClassVar[int] = 2


class EngineError(PipelineError):
    """A Spark job failed.

    The sentence carries what Spark said of the first cause. Tables change only by whole commits, and the failed stage
    has made none, so the command can be repeated; stages that were done are not done again.
    """

    code: ClassVar[str] = "TM-316"
    exit_code: ClassVar[int] = 3


class PanesBehindError(PipelineError):
    """Feature rows are to be made of panes that do not hold all readings yet.

    The panes of some dates were not made since the last ingest. Make them first, for all dates or run by run; those
    that are up to date are not made again.
    """

    code: ClassVar[str] = "TM-317"


class PartitionError(PipelineError):
    """A feature set cannot be materialized date by date.

    Its panes do not divide a day, so one of them holds readings of two dates. Choose a pane that divides 24 hours, or
    use the local engine, which looks across midnight.
    """

    code: ClassVar[str] = "TM-318"
    exit_code: ClassVar[int] = 2


class TooLittleDataError(PipelineError):
    """There is not enough labelled history to learn from and to judge with.

    Training needs failures before the split and windows after it, with the gap between them. Give it a longer period,
    or a smaller share of devices and time for the test in the use case.
    """

    code: ClassVar[str] = "TM-320"


class UnknownNameError(PipelineError):
    """A use case or an estimator was named that does not exist. The message suggests the nearest one."""

    code: ClassVar[str] = "TM-321"
    exit_code: ClassVar[int] = 2


class ExportError(PipelineError):
    """A fitted model cannot be written as an ONNX graph that gives the same scores.

    The exporter refuses what it does not know to be exact, because a model that differs only on missing values or on
    values near a split would pass every casual test.
    """

    code: ClassVar[str] = "TM-322"


class UseCaseError(PipelineError):
    """A use case contradicts itself or its fleet. The message names the field and what is allowed."""

    code: ClassVar[str] = "TM-323"
    exit_code: ClassVar[int] = 2


class ExtraMissingError(PipelineError):
    """An estimator is asked for whose library is not installed here.

    Deep learning is optional: the extra ``torch`` (`make torch`) and the extra ``tensorflow``. A bundle that was
    trained with either is served without it.
    """

    code: ClassVar[str] = "TM-328"
    exit_code: ClassVar[int] = 2


class ReportError(PipelineError):
    """A training report came out larger than one page may be, or without one of its parts."""

    code: ClassVar[str] = "TM-324"


class ReportMissingError(PipelineError):
    """A data report was asked for that no run has left.

    Each ingest that takes something in leaves one, numbered from 1, under reports/ingest/<fleet>/.
    """

    code: ClassVar[str] = "TM-310"


class RegistryUnreachableError(PipelineError):
    """The MLflow server does not answer.

    Nothing was registered; stored data and releases are untouched. Start the server (`tidemill up`) or correct
    MLFLOW_TRACKING_URI, then run the command again: a repeated training finds its own traces and goes on from them.
    """

    code: ClassVar[str] = "TM-340"
    exit_code: ClassVar[int] = 3


class RegistryError(PipelineError):
    """The MLflow server answered, but refused what was asked. The message carries its words."""

    code: ClassVar[str] = "TM-341"


class VersionMissingError(PipelineError):
    """A version is asked for that the registry does not hold, or that carries no bundle.

    Versions registered by hand in the MLflow UI have no bundle and can be neither compared nor released.
    """

    code: ClassVar[str] = "TM-342"


class ImportFolderError(PipelineError):
    """The folder of a data set lacks files, or is not there.

    All missing files are named at once, and what was found instead. Nothing was written.
    """

    code: ClassVar[str] = "TM-360"
    exit_code: ClassVar[int] = 2


class ImportFileError(PipelineError):
    """A file of a data set is not what its name says: columns are missing, or a row cannot be read.

    The message names the file and the line. Nothing after that line was imported; objects written before are whole.
    """

    code: ClassVar[str] = "TM-361"


class ImportOptionError(PipelineError):
    """An importer was asked for something it cannot do: a share beyond its range, a column that no signal is called by.

    The message names the option or the key of the mapping file, and what is allowed. Nothing was written.
    """

    code: ClassVar[str] = "TM-362"
    exit_code: ClassVar[int] = 2


class RequestError(PipelineError):
    """A training was asked for that cannot be: its dates lie the wrong way round, or its estimator cannot learn this.

    It is refused before anything is read, wherever it was asked for: in the form, over Airflow's API or by command.
    """

    code: ClassVar[str] = "TM-329"
    exit_code: ClassVar[int] = 2
