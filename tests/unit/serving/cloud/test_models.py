import threading
from typing import Any

import pytest

from serving.bundle import digest_of
from serving.cloud.models import ModelTable
from serving.errors import BundleDigestError, GoldenMismatchError
from serving.release import Release, bundle_path
from tests.fakes import bundles, models


def release_of(data: bytes, version: str = "1", digest: str = "") -> Release:
    digest = digest or digest_of(data)
    return Release("fan_failure", 1, version, digest, bundle_path(digest), 0, ("cloud",))


def held_version(table: ModelTable) -> str:
    with table.lease("fan_failure") as model:
        return model.release.version if model else ""


def test_what_is_installed_answers_and_what_is_withdrawn_does_not():
    table = ModelTable()
    assert held_version(table) == ""
    assert table.install(release_of(bundles.packed()), bundles.packed()) is None
    assert held_version(table) == "1"
    table.withdraw("fan_failure")
    assert held_version(table) == ""


BAD: dict[str, Any] = {
    "another digest than released": (bundles.packed(), f"sha256:{'0' * 64}", BundleDigestError),
    "other golden scores": (models.has_other_golden_scores(), "", GoldenMismatchError),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_bundle_leaves_the_old_model_where_it_is(case):
    data, digest, error = BAD[case]
    table = ModelTable()
    table.install(release_of(bundles.packed()), bundles.packed())
    with pytest.raises(error):
        table.install(release_of(data, "2", digest), data)
    assert held_version(table) == "1"


def test_a_request_that_holds_the_old_model_finishes_with_it():
    table = ModelTable()
    table.install(release_of(bundles.packed()), bundles.packed())
    new = bundles.packed(bias=1.0)
    with table.lease("fan_failure") as held:
        old = table.install(release_of(new, "2"), new)
        assert held is not None
        assert held is old
        assert held_version(table) == "2"
        assert not table.drain(old, 0.01)
        assert held.predictor.predict([[0.0] * held.width]).score[0] == pytest.approx(0.5)
    assert table.drain(old, 0.0)


def test_a_drain_ends_as_soon_as_the_last_request_does():
    table = ModelTable()
    table.install(release_of(bundles.packed()), bundles.packed())
    entered, leave = threading.Event(), threading.Event()

    def request() -> None:
        with table.lease("fan_failure"):
            entered.set()
            leave.wait(5)

    requesting = threading.Thread(target=request)
    requesting.start()
    entered.wait(5)
    old = table.withdraw("fan_failure")
    threading.Timer(0.05, leave.set).start()
    assert table.drain(old, 5.0)
    requesting.join()


def test_no_request_fails_and_none_is_mixed_while_versions_follow_each_other():
    packed = {str(number): bundles.packed(bias=float(number)) for number in range(4)}
    expected = {version: bundles.bundle(bias=float(version)).golden.scores[0] for version in packed}
    rows = bundles.bundle().golden.rows[:1]
    table = ModelTable()
    table.install(release_of(packed["0"], "0"), packed["0"])
    wrong: list[object] = []
    seen: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            with table.lease("fan_failure") as model:
                if model is None:
                    wrong.append("no model")
                    continue
                score = model.predictor.predict(rows).score[0]
                seen.add(model.release.version)
                if abs(score - expected[model.release.version]) > 1e-5:
                    wrong.append((model.release.version, score))

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for version in ("1", "2", "3", "0", "1"):
        old = table.install(release_of(packed[version], version), packed[version])
        assert table.drain(old, 5.0)
    stop.set()
    for thread in asking:
        thread.join()
    assert wrong == []
    assert len(seen) > 1
