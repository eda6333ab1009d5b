"""A small share of ``make sweep``'s faults: kills, full disks and rivals, after which nothing is lost or doubled."""

import secrets

import pytest

from tests.fakes.s3 import BUCKET, s3_server
from tests.sweep import deliveries, disks, kills, writers

pytestmark = pytest.mark.slow


def test_four_ingesters_that_are_killed_take_in_each_reading_once():
    deliveries.run(1000, secrets.randbelow(10**6))


def test_a_kill_at_any_operation_is_repaired_by_the_next_run():
    kills.run(15, every=12)


def test_a_kill_within_the_table_engine_is_repaired_by_the_next_run():
    told = kills.run_engine(4)
    if "no strace" in told:
        pytest.skip(told)


@pytest.mark.parametrize("fault", disks.FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_disk_that_fails_leaves_nothing_half_written(fault):
    told = fault(2)
    if "not tried" in told:
        pytest.skip(told)


def test_writers_side_by_side_commit_each_thing_once():
    writers.run(8, 5)


def test_writers_side_by_side_commit_each_thing_once_on_s3():
    with s3_server() as environ:
        writers.run(4, 3, f"s3://{BUCKET}/writers", environ)
