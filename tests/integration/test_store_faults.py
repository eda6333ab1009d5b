"""A tenth of the faults that ``make sweep`` lets happen between an ingest and its store."""

from tests.sweep.store_faults import GOAL, sweep


def test_an_ingest_through_a_breaking_proxy_ends_in_the_right_table(capsys):
    assert sweep(GOAL // 10)
    assert "every table right" in capsys.readouterr().out
