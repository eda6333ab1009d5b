import pytest

from serving.muster import Seen
from serving.reports import Report
from serving.roster import PAGE, Query, page, pick


def seen(gateway, state="current", **more):
    return Seen(Report(gateway, "pumps", "pump_failure", 0, "serving", **more), state, None)


FOUND = [
    seen("b", "later", version="1"),
    seen("a", "current", version="10"),
    seen("c", "failed", version="1", reason="TM-224 golden rows"),
    seen("d", "silent", clock="unsynced"),
    seen("e", "current", version="9", updates="unreachable", pending=5000),
]


def names(**query):
    return "".join(each.report.gateway for each in pick(FOUND, Query(**query)))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "cdbae"),
        ({"sort": "gateway"}, "abcde"),
        ({"sort": "version"}, "dbcea"),
        ({"state": "failed"}, "c"),
        ({"state": "clock"}, "d"),
        ({"state": "updates"}, "e"),
        ({"state": "pending"}, "e"),
        ({"state": "no such state"}, ""),
        ({"version": "1"}, "cb"),
        ({"version": "none"}, "d"),
        ({"text": "GOLDEN"}, "c"),
        ({"text": "pumps", "state": "current"}, "ae"),
        ({"sort": "no such order"}, "cdbae"),
    ],
)
def test_a_query_finds_what_it_says_in_its_order(query, expected):
    assert names(**query) == expected


def test_pages_hold_all_once_and_a_page_too_far_is_the_last():
    many = [seen(f"g{number:03d}") for number in range(2 * PAGE + 1)]
    pages = [page(many, Query(page=number)) for number in (1, 2, 3)]
    assert [len(each.rows) for each in pages] == [PAGE, PAGE, 1]
    assert [row for each in pages for row in each.rows] == many
    assert page(many, Query(page=99)) == pages[2]
    assert (page([], Query()).rows, page([], Query()).pages) == ((), 1)
