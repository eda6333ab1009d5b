"""The training report in a real browser: in the frame MLflow gives it, on a phone, and on paper."""

import pytest

from pipelines import report
from tests.fakes.chromium import chromium, needs_chromium
from tests.fakes.examined import usual

pytestmark = [pytest.mark.slow, needs_chromium]
NOW = 1_795_305_600_000_000
FRAME = """html => {
  const frame = document.createElement("iframe");
  Object.assign(frame, {src: URL.createObjectURL(new Blob([html], {type: "text/html"})), width: 900, height: 700});
  frame.sandbox = "allow-scripts allow-same-origin";
  document.body.append(frame);
}"""


@pytest.fixture(scope="module")
def html():
    return report.page(usual("failure"), [], now_us=NOW, note="as people see it")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def window(request, browser):
    """A window of which all requests and complaints are kept."""
    page = browser.new_page(viewport={"width": getattr(request, "param", 1280), "height": 800}, color_scheme="dark")
    asked, complaints = [], []
    page.on("request", lambda each: asked.append(each.url))
    page.on("pageerror", lambda each: complaints.append(str(each)))
    yield page
    page.close()
    assert not complaints
    assert not [url for url in asked if not url.startswith(("blob:", "about:", "data:"))]


def test_it_opens_as_a_blob_as_in_mlflow_and_its_dial_turns_without_a_server(window, html):
    window.evaluate(FRAME, html)
    frame = window.frame_locator("iframe")
    chosen = frame.locator("#dialled").inner_text()
    assert chosen.startswith("At the chosen threshold")
    dial = frame.get_by_role("slider", name="threshold")
    dial.press("End")
    last = frame.locator("#dialled").inner_text()
    dial.press("Home")
    assert len({chosen, last, frame.locator("#dialled").inner_text()}) >= 2
    assert frame.locator("section, footer").count() >= len(report.PARTS)


@pytest.mark.parametrize("window", [390], indirect=True)
def test_on_a_phone_in_the_dark_only_tables_and_curves_move_sideways(window, html):
    window.set_content(html)
    assert window.evaluate("document.documentElement.scrollWidth") == 390
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 24, 31)"


def test_on_paper_it_is_dark_on_white_and_leaves_out_what_paper_cannot_do(window, html):
    window.set_content(html)
    window.emulate_media(media="print")
    assert window.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not window.get_by_role("slider", name="threshold").is_visible()
    assert window.pdf(format="A4").startswith(b"%PDF")
