import threading
from pathlib import Path

import pytest

from serving.bundle import digest_of
from serving.gateway.errors import TrialFailedError
from serving.gateway.trial import Limits, Verdict, try_bundle
from tests.fakes import models
from tests.fakes.bundles import packed

LIMITS = Limits(memory_mib=64, seconds=20)


def tried(folder: Path, data: bytes, limits: Limits = LIMITS, digest: str = "") -> Verdict:
    path = folder / "bundle.tmb"
    path.write_bytes(data)
    return try_bundle(path, digest or digest_of(data), limits, threading.Event())


def test_a_sound_bundle_passes_and_says_what_it_took(tmp_path):
    verdict = tried(tmp_path, packed())
    assert verdict.golden == 20
    assert 10 < verdict.memory_mib < 200
    assert 0 < verdict.seconds < 20


def test_a_model_that_takes_too_much_memory_is_refused_and_passes_where_there_is_enough(tmp_path):
    data = models.takes_memory()
    with pytest.raises(TrialFailedError):
        tried(tmp_path, data)
    assert tried(tmp_path, data, Limits(memory_mib=1024, seconds=20)).memory_mib > 150


def test_a_model_with_other_golden_scores_is_refused_with_the_code_that_explains_it(tmp_path):
    with pytest.raises(TrialFailedError, match="TM-224"):
        tried(tmp_path, models.has_other_golden_scores())


def test_a_file_with_another_digest_is_refused(tmp_path):
    with pytest.raises(TrialFailedError, match="TM-213"):
        tried(tmp_path, packed(), digest=f"sha256:{'0' * 64}")


def test_a_child_that_cannot_even_begin_is_a_refusal_too(tmp_path):
    with pytest.raises(TrialFailedError, match="status 1"):
        try_bundle(tmp_path / "missing", "sha256:00", LIMITS, threading.Event())


def test_a_trial_is_given_up_when_the_gateway_stops(tmp_path):
    path = tmp_path / "bundle.tmb"
    path.write_bytes(packed())
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(TrialFailedError):
        try_bundle(path, digest_of(packed()), LIMITS, stopping)
