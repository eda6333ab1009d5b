import re
from xml.etree import ElementTree as ET

import pytest

from pipelines.study import Trial
from pipelines.tasks import Measure
from pipelines.trialpicture import picture

SVG = "{http://www.w3.org/2000/svg}"


def trials(*scores):
    found = [Trial(number, "linear" if number % 2 else "mlp", {}, "1-of-1") for number in range(len(scores))]
    return [trial if score is None else trial.ended(score, 1.0) for trial, score in zip(found, scores, strict=True)]


def ring(tree):
    return next(each for each in tree.iter(f"{SVG}circle") if each.get("r") == "7")


@pytest.mark.parametrize(
    ("measure", "scores"),
    [(Measure("it", "It"), (0.5, 0.9, 0.7, 0.9)), (Measure("it", "It", "lower"), (5.0, 1.0, 3.0, 1.0))],
)
def test_the_line_steps_to_the_best_so_far_and_the_ring_marks_who_reached_it_first(measure, scores):
    tree = ET.fromstring(picture(trials(*scores), measure))
    dots = [each for each in tree.iter(f"{SVG}circle") if each.get("r") == "4"][2:]  # after those of the legend
    assert len(dots) == 4
    assert (ring(tree).get("cx"), ring(tree).get("cy")) == (dots[1].get("cx"), dots[1].get("cy"))
    line = next(each.attrib["d"] for each in tree.iter(f"{SVG}path") if each.get("fill") == "none")
    assert re.fullmatch(r"M[\d.]+,[\d.]+(H[\d.]+V[\d.]+){3}", line)
    assert line.endswith(f"V{dots[1].attrib['cy']}")


def test_families_are_named_once_and_failed_trials_left_out():
    tree = ET.fromstring(picture(trials(0.5, None, 0.7), Measure("it", "It <so>")))
    told = [each.text or "" for each in tree.iter(f"{SVG}text")]
    assert told.count("mlp") == 1
    assert "linear" not in told
    assert "0" in told
    assert "2" in told
    assert any(text.startswith("It <so> by number of trial") for text in told)
