"""Promotions under faults: ``python -m tests.sweep.promotions 300 SEED`` ends with 1 where something wrong came of one.

One world with a real MLflow server, a store in a folder and real keys lives through all runs. Each run brings one
fault; after it come at most two ticks of the timer with everything in order. Then what is wanted serves, or its version
says why not; every bundle that was ever published was let through by a gate; and the ledger is whole.
"""

import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from features.errors import TidemillError
from pipelines.registry import Registry
from serving.policy import AT_ONCE, Rollout
from serving.reconcile import reconcile
from serving.store import open_store
from serving.trust.keys import create_keys
from serving.trust.publisher import Publisher
from tests.fakes.bundles import packed
from tests.fakes.interrupted import Budget, InterruptedStore, PowerCut
from tests.fakes.mlflow_server import Server, free_port
from tests.fakes.registered import put_bundle
from tests.sweep.promoted import FAN, Promoted

YEARS_US = 10 * 365 * 86_400_000_000
STAGED = Rollout(stages=(0.5, 1.0))
TICKS = 2


class Cutting:
    """A registry whose process is killed when the budget is spent."""

    def __init__(self, registry: Registry, budget: Budget) -> None:
        self._registry, self._budget = registry, budget

    def wanted(self) -> Any:
        return self._registry.wanted()

    def load(self, wanted: Any) -> Any:
        return self._registry.load(wanted)

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        self._budget.spend()
        self._registry.write_tags(usecase, version, tags)

    def clear_control(self, usecase: str) -> None:
        self._budget.spend()
        self._registry.clear_control(usecase)


class World(Promoted):
    """A model in a world of its own: an MLflow server, a store, keys, and release runs that are called here."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.server = Server(folder)
        store = open_store(str(folder / "store"), create=True)
        create_keys(folder / "keys")
        Publisher(store, folder / "keys").initialise(self.now())
        self.policy = AT_ONCE
        super().__init__(self.server.url, store, folder / "keys", chance)

    def tick(self, budget: Budget | None = None, *, skew_us: int = 0) -> None:
        """What the timer's release run does, killed after so many writes."""
        budget = budget or Budget()
        store = InterruptedStore(self.store, budget)
        publisher = Publisher(store, self.keys)
        registry = Cutting(self.registry, budget)
        reconcile(registry, store, publisher, self.now() + skew_us, policy=lambda _: self.policy)


# --- faults ---------------------------------------------------------------------------------------------------------


def airflow_down(world: World) -> None:
    """Aliases move while nobody looks; the same while the DAG is paused and its events are dropped."""
    for _ in range(world.chance.randint(1, 4)):
        world.promote(world.any_version())


def mlflow_down(world: World) -> None:
    """The registry is away while it is watched and while a release looks."""
    world.promote(world.any_version())
    before, there = world.published(), world.registry
    world.registry = Registry(f"http://127.0.0.1:{free_port()}")
    with suppress(TidemillError):
        world.tick()
    world.registry = there
    assert world.published() == before  # a registry that cannot be asked withdraws nothing


def killed_after_a_write(world: World) -> None:
    """The power goes at any write of a release run, several times in a row."""
    world.promote(world.any_version())
    for _ in range(world.chance.randint(1, 3)):
        with suppress(PowerCut):
            world.tick(Budget(world.chance.randint(0, 14)))


def killed_in_a_rollout(world: World) -> None:
    """The same while a release spreads over stages, or somebody aborts it."""
    world.policy = Rollout(stages=STAGED.stages, soak=STAGED.soak * 0)
    world.promote(world.any_version())
    with suppress(PowerCut):
        world.tick(Budget(world.chance.randint(0, 20)))
    if world.chance.random() < 0.5:
        world.client.set_registered_model_tag(FAN, "rollout", world.chance.choice(["pause", "abort"]))
        with suppress(PowerCut):
            world.tick(Budget(world.chance.randint(0, 14)))
        world.registry.clear_control(FAN)
        # An aborted version stays refused until its alias was moved away.
        world.promote(world.train())


def killed_command(world: World) -> None:
    """The command itself is killed by SIGKILL at any moment."""
    world.promote(world.any_version())
    command = [str(Path(sys.executable).with_name("tidemill")), "release", "--store", world.store.uri]
    environ = {**_quiet(), "MLFLOW_TRACKING_URI": world.server.url, "TIDEMILL_KEYS": str(world.keys)}
    with subprocess.Popen([*command, "--tracking", world.server.url], env=environ, cwd=world.folder) as running:
        with suppress(subprocess.TimeoutExpired):
            running.wait(world.chance.uniform(0.5, 4.0))
        running.send_signal(signal.SIGKILL)


def _quiet() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}


def back_and_forth(world: World) -> None:
    """A-B-A, with and without a look in between."""
    first, second = world.any_version(), world.any_version()
    for version in (first, second, first):
        world.promote(version)
        if world.chance.random() < 0.5:
            world.tick()


def removed_and_set(world: World) -> None:
    """The alias is deleted and set again, or stays away."""
    world.promote(None)
    if world.chance.random() < 0.5:
        world.tick()
    if world.chance.random() < 0.7:
        world.promote(world.any_version())


def two_at_once(world: World) -> None:
    """Two release runs look at the same moment."""
    world.promote(world.any_version())
    failures: list[BaseException] = []

    def run() -> None:
        try:
            world.tick()
        except TidemillError:
            pass  # the other was faster
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    both = [threading.Thread(target=run) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert not failures, failures


def wrong_clock(world: World) -> None:
    """A run with a clock ten years wrong, either way."""
    world.promote(world.any_version())
    with suppress(TidemillError):
        world.tick(skew_us=world.chance.choice([-1, 1]) * YEARS_US)


def deleted_version(world: World) -> None:
    """The version under the alias is deleted."""
    version = world.any_version()
    world.promote(version)
    if world.chance.random() < 0.5:
        world.tick()
    world.client.delete_model_version(FAN, version)
    world.bundles.pop(version, None)
    if world.chance.random() < 0.5:
        world.promote(world.any_version())


def tampered_bundle(world: World) -> None:
    """Somebody who can write artifacts exchanges the bytes before the alias is set."""
    version = world.train()
    put_bundle(world.client, world.client.get_model_version(FAN, version).run_id, packed(bias=77.0 + world.made))
    world.bundles[version] = "exchanged"
    world.promote(version)


def old_backup(world: World) -> None:
    """The registry comes back as it was yesterday: versions and aliases since are gone, numbers are given again."""
    with world.server.away():
        kept = shutil.copy(world.folder / "mlflow.db", world.folder / "yesterday.db")
    numbers = dict(world.bundles)
    world.promote(world.train())
    world.tick()
    with world.server.away():
        shutil.copy(kept, world.folder / "mlflow.db")
    world.bundles = numbers
    if world.chance.random() < 0.5:
        world.promote(world.train())


FAULTS: Mapping[str, tuple[Callable[[World], None], int]] = {  # what, and how often among all
    "Airflow down or paused": (airflow_down, 4),
    "MLflow down": (mlflow_down, 1),
    "release killed at a write": (killed_after_a_write, 8),
    "rollout killed at a write": (killed_in_a_rollout, 4),
    "command killed": (killed_command, 1),
    "A-B-A": (back_and_forth, 4),
    "alias removed": (removed_and_set, 3),
    "two releases at once": (two_at_once, 4),
    "clock ten years wrong": (wrong_clock, 4),
    "version deleted": (deleted_version, 3),
    "bundle exchanged": (tampered_bundle, 3),
    "registry from a backup": (old_backup, 1),
}


def run(count: int, seed: int, without: Collection[str] = ()) -> tuple[Counter[str], Counter[str]]:
    """Live through faults, all but those named; how often each came, and what came of them.

    Raises:
        AssertionError: Something wrong was released, or nothing came of an alias.
    """
    chance, came, became = random.Random(seed), Counter[str](), Counter[str]()
    # Each fault as often as its share says, in any order: chance alone would leave rare ones out of a short run.
    shares = {name: share for name, (_, share) in FAULTS.items() if name not in without}
    names = [name for name, share in shares.items() for _ in range(share)]
    # In memory where there is such a place: a disk takes most of the time to make thousands of small files durable.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder, ExitStack() as stack:
        world = World(Path(folder), chance)
        stack.callback(world.server.stop)
        order: list[str] = []
        for number in range(count):
            if not order:
                drawn = names if count >= len(names) else list(shares)
                order = chance.sample(drawn, len(drawn))
            name = order.pop()
            world.policy = AT_ONCE
            try:
                FAULTS[name][0](world)
                world.policy = AT_ONCE
                for _ in range(TICKS):
                    world.tick()
                became[world.check()] += 1
            except Exception as error:
                raise AssertionError(f"run {number} of seed {seed}, {name}: {error}") from error
            came[name] += 1
    return came, became


def sweep(count: int = 300, seed: int | None = None) -> bool:
    """All faults at length, from a seed that is told."""
    seed = secrets.randbelow(10**6) if seed is None else seed
    print(f"promotions under faults, seed {seed}", flush=True)
    try:
        came, became = run(count, seed)
    except AssertionError as error:
        print(f"BROKEN: {error}")
        return False
    print(", ".join(f"{count} {name}" for name, count in came.items()))
    print(f"{sum(came.values())} runs, 0 wrong releases: " + ", ".join(f"{n} {what}" for what, n in became.items()))
    return True


if __name__ == "__main__":
    sys.exit(0 if sweep(*map(int, sys.argv[1:])) else 1)
