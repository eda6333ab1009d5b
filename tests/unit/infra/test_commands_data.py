from infra.local.commands_data import account
from pipelines.ingest import IngestSummary


def test_what_hardly_ever_happens_is_told_when_it_did():
    usual = account("pumps", IngestSummary(objects=3, accepted=2, batches=1))
    assert usual[-1] == "0 records and 0 objects quarantined"
    odd = account("pumps", IngestSummary(objects=3, damaged=1, excluded=1200, quarantined=1))
    assert odd[-3:] == [
        "look at them: tidemill quarantine list pumps",
        "1 objects came damaged; the next run tries again",
        "1,200 objects excluded by the mapping",
    ]
