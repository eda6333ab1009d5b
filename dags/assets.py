"""The assets through which the DAGs wake each other.

Names carry what they are about; addresses are opaque to Airflow and never name a partition.
"""

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from dags.alias_watcher import AliasWatcher

TELEMETRY = AssetAlias("telemetry")
RETRAIN = AssetAlias("retrain")
CHAMPIONS = Asset(
    name="registry.champions",
    uri="tidemill://registry/champions",
    group="registry",
    watchers=[AssetWatcher(name="alias_watcher", trigger=AliasWatcher())],
)


def telemetry(fleet: str) -> Asset:
    """Return the asset that changes when telemetry of a fleet was taken in."""
    return Asset(name=f"telemetry.{fleet}", uri=f"tidemill://telemetry/{fleet}", group="telemetry")


def retrain(usecase: str) -> Asset:
    """Return the asset that changes when monitoring decided that a use case needs a new model."""
    return Asset(name=f"retrain.{usecase}", uri=f"tidemill://retrain/{usecase}", group="retrain")


def usecase_of(name: str) -> str:
    """Return the use case in the name of a retrain asset.

    Example:
        >>> usecase_of(retrain("pump_failure").name)
        'pump_failure'
    """
    return name.removeprefix("retrain.")
