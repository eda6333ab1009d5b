"""What passes between a training and the registry. Light, because every command that asks the registry loads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

BUNDLE = "bundle/model.tmb"
REPORT = "report/index.html"
TABLES = ("features", "events")
"""Tables that a training set names by version."""


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A data set and what it was used for.

    Attributes:
        name: Its name.
        digest: Of its source.
        source: Where it came from: tables with versions, period, seed, counts, SHA-256 of the rows.
        context: ``"training"`` or ``"test"``.
    """

    name: str
    digest: str
    source: Mapping[str, Any]
    context: str = "training"


@dataclass(frozen=True, slots=True)
class TrialRun:
    """One trial of a search, as a child run.

    Attributes:
        number: Its number in the search.
        name: Name of the run.
        params: Estimator and parameters.
        metrics: Score and seconds.
        tags: Of the run.
        began_us: When it was begun, UTC microseconds.
        seconds: How long it took.
        failed: Whether no score came of it.
    """

    number: int
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    began_us: int = 0
    seconds: float = 0.0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """What a training leaves in the registry.

    Attributes:
        usecase: The use case; name of the registered model.
        title: The use case in words.
        experiment: Experiment of the run.
        run_name: Name of the run.
        digest: Digest of the bundle.
        passed: Whether the gate let it through.
        params: At most 20; the same for the same bundle.
        metrics: Figures in units of the plant.
        tags: Of the run.
        files: Artifacts by path, ``BUNDLE`` and ``REPORT`` among them.
        dataset: What was learned from.
        describe: Gives the description of the version, from the link to the report.
        judged_with: What it was judged with.
        trials: What a search tried.
    """

    usecase: str
    title: str
    experiment: str
    run_name: str
    digest: str
    passed: bool
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, bytes]
    dataset: DatasetUse
    describe: Callable[[str], str]
    judged_with: DatasetUse | None = None
    trials: tuple[TrialRun, ...] = ()


@dataclass(frozen=True, slots=True)
class Registered:
    """Where a training is found: version, run, and the address of the version's page.

    Attributes:
        version: Version of the registered model.
        run_id: Its run.
        url: Page of the version in MLflow.
        reused: Whether the version was there before.
        report: Page of the report in MLflow.
    """

    version: str
    run_id: str
    url: str
    reused: bool
    report: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version as it is now; ``digest`` is empty for one registered by hand."""

    version: str
    run_id: str
    digest: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created_us: int


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a version learned from.

    Attributes:
        usecase: The use case.
        version: Version of the registered model.
        digest: Digest of the feature set.
        since: First window end, UTC microseconds.
        until: Last window end.
        tables: Versions of the tables it was read from: ``features``, ``events``.
    """

    usecase: str
    version: str
    digest: str
    since: int
    until: int
    tables: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, usecase: str, version: str, source: Mapping[str, Any]) -> "TrainingSet | None":
        """Read it from the source of a `DatasetUse`; None where that says something else.

        Example:
            >>> source = {"features.digest": "sha256:1", "since": "0", "until": "9", "features.version": "4"}
            >>> TrainingSet.of("pump_failure", "3", source).tables
            {'features': 4}
            >>> TrainingSet.of("pump_failure", "3", {"until": "9"}) is None
            True
        """
        if not {"features.digest", "since", "until"} <= source.keys():
            return None
        tables = {name: int(source[f"{name}.version"]) for name in TABLES if f"{name}.version" in source}
        return cls(usecase, version, source["features.digest"], int(source["since"]), int(source["until"]), tables)


def with_section(description: str, name: str, text: str) -> str:
    """Return a description with a section at its end, in place of the one of that name; an empty text removes it.

    Example:
        >>> once = with_section("Passed.", "shadow", "They agree.")
        >>> with_section(once, "shadow", "They differ.").splitlines()
        ['Passed.', '', '<!-- shadow -->', 'They differ.', '<!-- end of shadow -->']
        >>> with_section(once, "shadow", "")
        'Passed.'
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = description.partition(begin)
    after = rest.partition(end)[2] if found and end in rest else ""
    parts = [before.strip(), after.strip(), f"{begin}\n{text.strip()}\n{end}" if text.strip() else ""]
    return "\n\n".join(part for part in parts if part)


class RegistryPort(Protocol):
    """The registry, as far as a training needs it: ``pipelines.registry.Registry``."""

    def champion(self, usecase: str) -> str | None:
        """Return the version in use; None when there is none."""

    def download_bundle(self, usecase: str, version: str) -> bytes:
        """Return the bundle of a version, or raise ``VersionMissingError``."""

    def register(self, registration: Registration) -> Registered:
        """Log a training and register its version, or finish what an earlier attempt began."""
