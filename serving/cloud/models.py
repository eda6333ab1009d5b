"""The models a server answers with, and how one replaces another while requests run.

Load new, run its golden rows, switch, drain old: ``install`` builds the new model completely before anybody can see
it, the switch is one assignment, and whoever holds a ``lease`` on the old model finishes with it. So no request fails
because of a release, and none is answered half by one version and half by another.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from serving.bundle import unpack
from serving.predictor import Predictor
from serving.release import Release


@dataclass(slots=True, eq=False)
class Loaded:
    """A model in memory.

    Attributes:
        release: What it is.
        predictor: What answers.
        width: Features of a row.
        feature_digest: Digest of the feature set, which takes too long to be computed for every request.
        users: Requests that hold the model, guarded by the table's lock.
    """

    release: Release
    predictor: Predictor
    width: int
    feature_digest: str
    users: int = 0


class ModelTable:
    """Which model answers for which use case; safe to use from any thread.

    Args:
        threads: Threads of one inference. More than one helps only where requests are large and cores idle.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._models: Mapping[str, Loaded] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._models)

    def loaded(self) -> Mapping[str, Loaded]:
        """A picture of the table: use case to model, in no particular order."""
        return self._models

    def install(self, release: Release, data: bytes) -> Loaded | None:
        """Open a bundle, try its golden rows, and answer with it from now on.

        Args:
            release: What is installed.
            data: Its bundle.

        Returns:
            The model it replaced, for ``drain``; None when there was none.

        Raises:
            BundleError: The bundle is not the released one or not sound.
            ModelError: The model cannot be loaded, or does not give its golden scores here.
        """
        predictor = Predictor(unpack(data, release.bundle), self._threads)
        predictor.check_golden()
        features = predictor.bundle.manifest.features
        new = Loaded(release, predictor, len(features.names), features.digest)
        with self._changed:
            old = self._models.get(release.usecase)
            self._models = {**self._models, release.usecase: new}
        return old

    def withdraw(self, usecase: str) -> Loaded | None:
        """Answer no longer for a use case; the model that did, for ``drain``."""
        with self._changed:
            old = self._models.get(usecase)
            self._models = {name: model for name, model in self._models.items() if name != usecase}
        return old

    @contextlib.contextmanager
    def lease(self, usecase: str) -> Iterator[Loaded | None]:
        """Hold the model of a use case for one request; None when there is none."""
        with self._changed:
            model = self._models.get(usecase)
            if model is not None:
                model.users += 1
        try:
            yield model
        finally:
            if model is not None:
                with self._changed:
                    model.users -= 1
                    self._changed.notify_all()

    def drain(self, old: Loaded | None, timeout_s: float) -> bool:
        """Wait until no request holds a replaced model; whether that happened in time. None is drained already."""
        with self._changed:
            return old is None or self._changed.wait_for(lambda: old.users == 0, timeout_s)
