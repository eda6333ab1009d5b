"""The folder of signing keys: who may read it, what is refused, what is left alone."""

import json
import stat

import pytest

from serving.trust.errors import KeysError
from serving.trust.keys import KeyRing, create_keys


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signing") / "keys"
    create_keys(folder)
    return folder


@pytest.fixture
def keys(made, tmp_path):
    """A copy that a test may damage."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    for path in made.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).chmod(0o600)
    return folder


def test_only_the_owner_may_read_new_keys(made):
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()} == {0o600}
    assert len(list(made.iterdir())) == 8


def test_creating_again_changes_nothing(keys):
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    create_keys(keys)
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "root-1.pem").write_text("the only copy of a production key")
    with pytest.raises(KeysError, match="not empty"):
        create_keys(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["root-1.pem"]


def test_two_folders_never_hold_the_same_key(made, tmp_path):
    create_keys(tmp_path / "other")
    ids = [{key.keyid for key in KeyRing.load(folder).public.values()} for folder in (made, tmp_path / "other")]
    assert len(ids[0]) == len(ids[1]) == 7
    assert not ids[0] & ids[1]


def test_the_mark_of_development_is_kept(made, tmp_path):
    create_keys(tmp_path / "production", development=False)
    assert KeyRing.load(made).development
    assert not KeyRing.load(tmp_path / "production").development


def test_two_root_keys_are_enough_and_one_is_not(keys):
    (keys / "root-2.pem").unlink()
    assert KeyRing.load(keys).can_sign("root")
    assert len(KeyRing.load(keys).signers("root")) == 2
    (keys / "root-1.pem").unlink()
    assert not KeyRing.load(keys).can_sign("root")
    with pytest.raises(KeysError, match=r"bring root-1\.pem or root-2\.pem"):
        KeyRing.load(keys).signers("root")


def open_folder(keys):
    keys.chmod(0o755)


def open_key(keys):
    (keys / "releases.pem").chmod(0o644)


def remove_public(keys):
    (keys / "keys.json").unlink()


def cut_public(keys):
    (keys / "keys.json").write_bytes((keys / "keys.json").read_bytes()[:40])


def drop_role(keys):
    stated = json.loads((keys / "keys.json").read_bytes())
    del stated["keys"]["snapshot"]
    (keys / "keys.json").write_text(json.dumps(stated))


def swap_key(keys):
    (keys / "releases.pem").write_bytes((keys / "snapshot.pem").read_bytes())


def cut_key(keys):
    (keys / "releases.pem").write_text("-----BEGIN PRIVATE KEY-----\n")


def remove_key(keys):
    (keys / "releases.pem").unlink()


DAMAGES = {
    "a folder open to everybody is refused with the command that mends it": (open_folder, "chmod 700"),
    "a key open to everybody is refused with the command that mends it": (open_key, "chmod 600"),
    "a folder without public halves has no keys": (remove_public, "no signing keys"),
    "a cut file of public halves is refused": (cut_public, "cannot be read"),
    "a missing role is refused": (drop_role, "not as this program makes them"),
    "a key in the place of another is refused": (swap_key, "cannot be used"),
    "a cut key is refused": (cut_key, "cannot be used"),
    "a missing key is named": (remove_key, "releases.pem"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_folder_is_refused(keys, damage, message):
    damage(keys)
    with pytest.raises(KeysError, match=message):
        KeyRing.load(keys).signers("releases")


def test_mending_as_told_helps(keys):
    keys.chmod(0o755)
    with pytest.raises(KeysError, match="chmod 700"):
        KeyRing.load(keys)
    keys.chmod(0o700)
    assert KeyRing.load(keys).signers("releases")


def test_a_group_may_read_mounted_secrets(keys):
    (keys / "releases.pem").chmod(0o640)
    assert KeyRing.load(keys).signers("releases")
