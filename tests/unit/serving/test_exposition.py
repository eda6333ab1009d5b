from serving.exposition import Family, render


def test_label_values_are_escaped_so_that_no_name_can_break_a_line():
    family = Family("tidemill_x", "gauge", "X.", [({"name": 'a"b\\c\nd'}, 1)])
    assert render([family]).splitlines()[2] == rb'tidemill_x{name="a\"b\\c\nd"} 1'


def test_whole_counts_stay_whole_and_fractions_keep_their_digits():
    lines = render([Family("n", "counter", "N.", [({}, 12345678901234567890), ({"of": "seconds"}, 0.1)])]).splitlines()
    assert lines[2:] == [b"n 12345678901234567890", b'n{of="seconds"} 0.1']


def test_a_metric_without_samples_still_announces_itself():
    assert render([Family("n", "gauge", "N.", [])]) == b"# HELP n N.\n# TYPE n gauge\n"
