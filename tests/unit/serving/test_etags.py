"""What a service shows about its ETags, answer by answer."""

import hashlib

import pytest

from serving.s3.etags import Etags

DATA = b"data"
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
OTHER = "0123456789abcdef0123456789abcdef"


def test_an_etag_that_is_no_md5_says_nothing():
    assert Etags().fit("0123456789abcdef0123456789abcdef-2", DATA)


def test_bytes_are_held_against_an_etag_that_looks_like_an_md5():
    etags = Etags()
    assert etags.fit(MD5, DATA)
    assert not etags.fit(MD5, b"dat4")


def test_the_same_misfit_twice_before_any_fit_tells_that_these_are_no_digests():
    seen: set[tuple[str, str]] = set()
    etags = Etags()
    assert not etags.fit_answer({}, OTHER, DATA, seen)
    assert not etags.fit_answer({}, OTHER, b"dat4", seen), "other bytes for the same ETag are damage"
    assert etags.fit_answer({}, OTHER, DATA, seen)
    assert etags.fit(OTHER, b"anything")


def test_once_an_etag_has_fitted_a_misfit_stays_one():
    seen: set[tuple[str, str]] = set()
    etags = Etags()
    assert etags.fit(MD5, DATA)
    assert [etags.fit_answer({}, OTHER, DATA, seen) for _ in range(3)] == [False] * 3


@pytest.mark.parametrize("answer", [{"SSECustomerAlgorithm": "AES256"}, {"ServerSideEncryption": "aws:kms:dsse"}])
def test_an_object_under_a_key_of_somebody_is_believed_and_proves_nothing(answer):
    etags = Etags()
    assert etags.fit(MD5, DATA)
    assert etags.fit_answer(answer, OTHER, DATA, set())
    assert not etags.fit(OTHER, DATA)
    unknown = Etags()
    assert unknown.fit_answer(answer, OTHER, DATA, set())
    assert unknown.fit(OTHER, DATA)
