import json
import re
import time
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from pipelines import report, reportfile, usecases, verdict
from pipelines.candidate import build
from pipelines.cautions import card, cautions
from pipelines.charts import dial_picture, timeline_picture
from pipelines.dataset import build as cut
from pipelines.errors import ReportError
from pipelines.examine import Champion, examine
from pipelines.gate import RuleResult
from pipelines.labels import FailureWithin
from pipelines.leak import Shifted
from pipelines.lines import thinned
from pipelines.rules import Alerting, Cost
from pipelines.split import Split
from pipelines.timeline import timelines
from tests.fakes.examined import usual
from tests.fakes.histories import HOUR, history

NOW = 1_795_305_600_000_000
USECASE = replace(
    usecases.load("machine_failure"),
    label=FailureWithin(timedelta(hours=24), recovery=timedelta(hours=12)),
    estimator="linear",
    alerting=Alerting(cost=Cost(missed_failure=8000, false_alarm=100)),
)


def examined(events=None, usecase=USECASE, champion=None):
    past = history(devices=12, days=45)
    random = np.random.default_rng(1)
    known = past.windows.values[:, :1]
    noise = random.normal(size=(len(known), len(usecase.features.names) - 8))
    windows = replace(past.windows, values=np.hstack([np.tile(known, 8), noise]))
    data = cut(
        usecase.features.names,
        windows,
        usecase.label,
        events or past.events,
        usecase.split,
        known_until=past.until,
        every_us=past.every,
        lineage={"features.version": "7"},
    )
    candidate = build(usecase, data, usecase.estimator, {}, 0)
    other = Champion("3", candidate.predictor, data.test.values) if champion else None
    return examine(usecase, data, candidate, other, panes=lambda _: [], seed=0, timer=time.perf_counter)


def read(device, signal, since, until):
    times = np.arange(since, until, HOUR // 30)
    return times, np.where(np.arange(len(times)) % 50 == 0, np.nan, np.sin(times / HOUR))


@pytest.fixture(scope="module")
def passed():
    return examined(champion=True)


@pytest.fixture(scope="module")
def html(passed):
    return report.page(passed, timelines(passed, read), now_us=NOW, note="<b>because</b>")


@pytest.fixture(scope="module")
def refused():
    """No failure fell into the test: most numbers are missing."""
    past = history(devices=12, days=45)
    early = past.events.time < past.windows.end.min() + 20 * 24 * HOUR
    return examined(past.events.select(early), replace(USECASE, alerting=Alerting()))


class Page(HTMLParser):
    """Ids, addresses, pictures without words, and tags that were left open."""

    VOID = frozenset({"meta", "rect", "line", "path", "circle", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.mute, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("href", "src", "action", "xlink:href") if name in given]
        if tag == "svg" and not (given.get("role") == "img" and given.get("aria-label", "").strip()):
            self.mute.append(given)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_has_its_ten_parts_in_order(html):
    found = [name for name in Page(html).ids if name in report.PARTS]
    assert tuple(found) == report.PARTS
    assert len(report.PARTS) == 10


def test_the_report_is_one_small_file_without_addresses(html):
    assert Page(html).addresses == []
    assert not re.search(r"https?://|url\(|@import", html)
    assert len(html.encode()) < report.MOST_BYTES
    assert Page(html).open == []


def test_every_picture_says_what_it_shows(html):
    assert Page(html).mute == []
    assert html.count("<svg") == html.count("<title>") - 1
    assert html.count("<svg") >= 6


def test_the_report_prints_and_follows_the_light_of_the_room(html):
    assert "@media print" in html
    assert "prefers-color-scheme:dark" in html


def test_the_verdict_speaks_of_failures_hours_and_money(html, passed):
    found = passed.metrics
    assert f"It warns of {found.caught} of {found.failures} failures" in html
    assert "hours ahead at the median" in html
    assert f"{8000 * found.failures:,} EUR" in html
    assert "Passed." in html


def test_the_champion_stands_beside_the_numbers(html):
    assert html.count("champion v3:") == 4


def test_a_note_is_text_and_nothing_else(html):
    assert "Note: &lt;b&gt;because&lt;/b&gt;" in html


def test_the_page_names_its_zone_and_what_its_pictures_show(html):
    for words in (
        "all times are UTC",
        "Failures that were caught, by hours of warning.",
        "Up: failures caught. To the right: false alarms",
        "µs a row (at most 5,000)",
    ):
        assert words in html


def test_what_to_watch_is_said_once(passed):
    """The card of report.json is whole: it is read alone."""
    text = report.page(passed, [], now_us=NOW)
    (first, *_) = cautions(passed)
    assert text.count(first) == 1
    assert first in card(passed)["Limits"]


def test_a_refusal_is_told_without_the_names_of_rules_in_front(refused):
    text = report.page(refused, timelines(refused, read), now_us=NOW).partition("<details>")[0]
    broken = [result for result in refused.results if not result.passed]
    assert f"It breaks {len(broken)} of the {len(refused.results)} rules of the gate" in text
    assert all(f"<li>{result.sentence}</li>" in text for result in broken)


def test_every_device_of_the_test_is_listed(html, passed):
    for name, _ in passed.devices:
        assert f"<td>{name}</td>" in html
    assert "not enough data" in html
    assert "held out" in html


def test_each_placement_shows_what_it_takes(html):
    for place in USECASE.placements:
        assert f"<tr><th>{place}</th>" in html


def test_a_report_with_missing_numbers_says_so_instead_of_nan(refused):
    text = report.page(refused, timelines(refused, read), now_us=NOW)
    assert not refused.passed
    assert "Refused." in text
    assert "No failure fell into the test" in text
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert [name for name in Page(text).ids if name in report.PARTS] == list(report.PARTS)


def test_the_document_is_plain_json_with_the_same_figures(passed, refused):
    content = json.loads(json.dumps(reportfile.document(passed), allow_nan=False))
    assert content["gate"]["passed"] is True
    assert content["metrics"]["caught"] == passed.metrics.caught
    assert {rule["rule"] for rule in content["gate"]["rules"]} == {result.rule for result in passed.results}
    assert (
        json.loads(json.dumps(reportfile.document(refused), allow_nan=False))["metrics"]["lead_time_hours_p10"] is None
    )


def test_a_page_that_would_be_too_large_is_an_error(passed, monkeypatch):
    monkeypatch.setattr(report, "MOST_BYTES", 1000)
    with pytest.raises(ReportError, match="at most 1000"):
        report.page(passed, [], now_us=NOW)


def test_timelines_are_chosen_by_rule_and_show_what_they_promise(passed):
    shown = {timeline.kind: timeline for timeline in timelines(passed, read)}
    caught = shown["caught"]
    assert any(failure > alarm.start for failure in caught.failures for alarm in caught.alarms)
    for kind, timeline in shown.items():
        picture = timeline_picture(timeline, 0.5)
        assert timeline.device in picture.alt
        assert "NaN" not in picture.signal + picture.score
        assert picture.failures or kind == "false alarm"


def test_a_timeline_shows_the_most_important_signal_that_is_read_all_along(passed):
    rare, often = (leaning.signal for leaning in passed.leanings[:2])

    def reported(device, signal, since, until):
        times, values = read(device, signal, since, until)
        return times, np.where(np.arange(len(times)) % 10 == 0, values, np.nan) if signal == rare else values

    assert {timeline.drawn.signal for timeline in timelines(passed, reported)} == {often}
    alone = replace(passed, leanings=passed.leanings[:1])
    assert {timeline.drawn.signal for timeline in timelines(alone, reported)} == {rare}


def test_the_band_of_a_normalised_signal_is_not_drawn_over_its_readings(passed):
    normalised = replace(passed, leanings=[replace(passed.leanings[0], unit="sd", normal=(-1.0, 1.0))])
    (found, *_) = timelines(normalised, read)
    assert found.drawn.unit == passed.leanings[0].unit
    assert np.isnan(found.drawn.normal).all()
    assert timelines(replace(passed, leanings=[]), read) == []
    assert 'class="band"' not in report.page(normalised, timelines(normalised, read), now_us=NOW)
    assert 'class="band"' in report.page(passed, timelines(passed, read), now_us=NOW)


def test_a_timeline_reaches_three_horizons_back(passed):
    week = replace(passed, dataset=replace(passed.dataset, horizon_us=7 * 24 * HOUR))
    for timeline in timelines(week, read):
        assert timeline.until - timeline.since == 4 * 7 * 24 * HOUR


def test_low_scores_of_rare_failures_fill_their_panel(passed):
    shown = timelines(passed, read)[0]
    rare = replace(shown, scores=np.linspace(0.0, 0.01, len(shown.scores)))
    picture = timeline_picture(rare, 0.008)
    assert picture.score_high == "0.016"
    assert picture.threshold == 20.0
    assert timeline_picture(replace(shown, scores=np.full(len(shown.scores), 0.9)), 0.6).score_high == "1"


def test_a_split_that_is_not_in_time_is_drawn_in_lanes(passed):
    beside = replace(passed, usecase=replace(passed.usecase, split=Split(test_devices=0.3, test_time=0)))
    text = report.page(beside, [], now_us=NOW)
    assert "Blue: learned from. Amber: judged. A lane is a device." in text
    assert "held-out devices: unused" not in text
    assert "held-out devices: unused" in report.page(passed, [], now_us=NOW)


def test_bands_of_signals_keep_the_digits_that_tell_their_ends_apart(passed):
    small = replace(passed.leanings[0], normal=(0.0123, 0.0456), before=0.0311, unit="g")
    text = report.page(replace(passed, leanings=[small]), [], now_us=NOW)
    assert "0.0123 to 0.0456 g" in text
    assert "0.0311 g" in text


def test_peaks_survive_thinning():
    values = np.zeros(100_000)
    values[54_321], values[77_777] = 9.0, -9.0
    times, kept = thinned(np.arange(100_000), values)
    assert (kept.max(), kept.min()) == (9.0, -9.0)
    assert np.all(np.diff(times) > 0)


def test_the_dial_marks_the_chosen_threshold(passed):
    picture = dial_picture(passed.dial, passed.candidate.threshold)
    assert f"{passed.candidate.threshold:.3f}" in picture.alt
    assert 0 <= picture.chosen[0] <= 320
    assert 0 <= picture.chosen[1] <= 200


def test_the_headline_fits_the_list_of_versions(passed, refused):
    many = replace(passed, metrics=replace(passed.metrics, caught=12_345, failures=23_456))
    for found in (passed, refused, many):
        assert len(verdict.headline(found)) <= 30
    assert verdict.headline(refused).startswith("Refused by")


def test_the_columns_of_a_description_do_not_touch(passed):
    rows = [line for line in verdict.description(passed, "#/report").splitlines() if line.startswith("| ")]
    assert rows[0] == "| on the same held-out windows | &ensp;champion v3 | &ensp;this version |"
    assert all(row.count("| &ensp;") == 2 for row in rows)


def test_a_refused_description_says_why_and_does_not_say_how_to_ship(refused):
    text = verdict.description(refused, "#/report")
    assert "cannot be shipped" in text
    assert all(reason in text for reason in refused.reasons)
    assert "nan" not in text


QUESTIONS = {
    "life": ("foreseen", "timeline", "leak", "slices", "stability", "watch", "card"),
    "forecast": ("foreseen", "timeline", "leak", "slices", "stability", "watch", "card"),
    "state": ("confusion", "timeline", "leak", "slices", "stability", "calibration", "watch", "card"),
    "anomaly": ("confusion", "timeline", "leak", "slices", "stability", "watch", "card"),
    "failure": ("lead-time", "threshold", "leak", "slices", "stability", "calibration", "watch", "card"),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_a_page_of_its_own(question):
    it = usual(question)
    text = report.page(it, [], now_us=NOW)
    page = Page(text)
    assert set(QUESTIONS[question]) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert (page.mute, page.addresses, page.open) == ([], [], [])
    assert len(text.encode()) < report.MOST_BYTES
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert text.count("No leak found.") == (1 if question == "anomaly" else 2)


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_a_document_of_its_own(question):
    it = usual(question)
    content = json.loads(json.dumps(reportfile.document(it), allow_nan=False))
    assert content["question"] == question
    assert content["leak"]["future_shift"]["changed"] == 0
    assert (content["leak"]["shuffled_labels"] is None) == (question == "anomaly")
    assert (content["calibration"] is None) == (question not in {"failure", "state"})
    assert len(content["stability"]["folds"]) == (0 if question == "anomaly" else len(it.folds))
    first = it.task.measures[0].name
    assert all(first in part["metrics"] for part in content["slices"]["parts"] + content["stability"]["periods"])
    assert content["watch"]
    assert content["card"]["Owner"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_a_verdict_that_fits_and_a_description(question):
    it = usual(question)
    assert verdict.headline(it).startswith("Passed: " if it.passed else "Refused by ")
    assert len(verdict.headline(it)) <= 30
    text = verdict.description(it, "#/report")
    assert it.task.sentence(it.metrics, it.usecase.label.unit) in text
    assert text.count("Leak check") == (1 if question == "anomaly" else 2)
    assert "nan" not in text


def test_a_leak_shows_in_the_first_thirty_characters_and_in_the_page():
    it = usual("failure")
    ahead = Shifted(windows=48, values=2016, changed=30, names=("volt_mean_3h",))
    refused = RuleResult("leak.future_shift", False, 30.0, 0.0, "30 values are others")
    others = [result for result in it.results if result.rule != refused.rule]
    leaking = replace(it, shifted=ahead, results=[*others, refused])
    assert verdict.headline(leaking) == "Refused by 1 rule: a leak"
    text = report.page(leaking, [], now_us=NOW)
    assert "A leak." in text
    assert "in volt_mean_3h" in text
