import pytest

from serving.trust.keys import create_keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A folder with the keys that sign releases, which no test may damage."""
    folder = tmp_path_factory.mktemp("signing") / "keys"
    create_keys(folder)
    return folder
