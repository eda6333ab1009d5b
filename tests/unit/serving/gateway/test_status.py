"""What a gateway says about its machine, where there is something to say."""

import pytest

from serving.gateway.status import disk_free_share, temperature_c


def test_a_disk_says_how_much_of_it_is_free(tmp_path):
    share = disk_free_share(tmp_path)
    assert share is not None
    assert 0 <= share <= 1
    assert disk_free_share(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("sensors", "degrees"),
    [
        ({}, None),
        ({"thermal_zone0": "41500", "thermal_zone1": "63210"}, 63.2),
        ({"thermal_zone0": "-12000"}, -12.0),
        ({"thermal_zone0": "-274000", "thermal_zone1": "no reading", "thermal_zone2": "40000"}, 40.0),
        ({"thermal_zone0": "-274000"}, None),
        ({"cooling_device0": "50000"}, None),
    ],
)
def test_the_hottest_sensor_that_can_be_believed_is_told(tmp_path, sensors, degrees):
    for name, text in sensors.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "temp").write_text(f"{text}\n")
    assert temperature_c(tmp_path) == degrees
