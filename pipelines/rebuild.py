"""A training set again, from the versions of the tables it was read from, equal to the last byte or with reasons.

Features are taken as the bundle declares them, so a catalog entry that has changed since is no hindrance; the label and
the split are those of the code that rebuilds. What the training wrote of itself (`pipelines.rows`, definitions, code,
environment) is compared with what is there now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from features.featureset import FeatureSet
from features.regime import RegimeRule
from pipelines import history
from pipelines.candidate import code_version
from pipelines.dataset import Dataset
from pipelines.environment import environment
from pipelines.errors import VersionMissingError
from pipelines.lake import Lake
from pipelines.registration import TABLES
from pipelines.usecases import UseCase
from serving.store import Store


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A training set that was read again.

    Attributes:
        dataset: What was read.
        expected: SHA-256 that the training wrote down.
        found: SHA-256 of what was read.
        changes: What is not as it was when it was trained.
    """

    dataset: Dataset
    expected: str
    found: str
    changes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether it is the same to the last byte."""
        return self.found == self.expected


def rebuild(store: Store, lake: Lake, usecase: UseCase, features: FeatureSet, lineage: Mapping[str, str]) -> Rebuilt:
    """Read a training set again.

    Args:
        store: The object storage.
        lake: Holds the tables.
        usecase: As the code declares it now.
        features: As the bundle declares them.
        lineage: Of the bundle: versions of tables, period, seed, definitions, checksum.

    Raises:
        VersionMissingError: The bundle does not say what it learned from.
        TableMissingError: A version of a table is gone, or some of its files are.
    """
    needed = ("since", "until", "seed", "rows.sha256", *(f"{name}.version" for name in TABLES))
    missing = [name for name in needed if name not in lineage]
    if missing:
        raise VersionMissingError(
            f"the bundle does not say {', '.join(missing)}",
            where=usecase.name,
            why="it was trained before training sets had checksums",
            fix="train again",
        )
    until = int(lineage["until"])
    data = history.load(
        store,
        lake,
        replace(usecase, feature_set=features),
        since=int(lineage["since"]),
        until=until,
        seed=int(lineage["seed"]),
        now_us=until,
        versions={name: int(lineage[f"{name}.version"]) for name in TABLES},
    )
    return Rebuilt(
        data, lineage["rows.sha256"], data.lineage["rows.sha256"], tuple(_changes(usecase, features, data, lineage))
    )


def _changes(usecase: UseCase, features: FeatureSet, data: Dataset, lineage: Mapping[str, str]) -> list[str]:
    """What is not as it was; regimes are learned from data, so of those only the rule stands in the catalog."""
    learned = isinstance(usecase.features.regimes, RegimeRule)
    then = replace(features, regimes=None) if learned else features
    now = [
        ("code", lineage.get("code"), code_version()),
        ("environment", lineage.get("environment"), environment()),
        ("label", lineage.get("definition.label"), data.lineage["definition.label"]),
        ("split", lineage.get("definition.split"), data.lineage["definition.split"]),
        (f"features of fleet {usecase.fleet}", then.digest, usecase.features.computable.digest),
    ]
    return [f"{what}: was {before}, is now {present}" for what, before, present in now if before not in (None, present)]
