import dataclasses
import re
from pathlib import Path

import pytest

from serving.errors import RefusedBindError, SettingsError, UnknownSettingError
from serving.settings import KEYS, GatewaySettings, ServerSettings, load, read_token, reject_unknown, table

SERVER = {"TIDEMILL_STORE": "/data", "TIDEMILL_ROOT": "/etc/root.json"}
GATEWAY = {**SERVER, "TIDEMILL_GATEWAY_NAME": "gw-1", "TIDEMILL_GATEWAY_USECASE": "pump_failure"}


def test_each_variable_reaches_its_field():
    given = {
        **SERVER,
        "TIDEMILL_PRODUCTION": "Yes",
        "TIDEMILL_SERVER_STATE": "/tmp/s",
        "TIDEMILL_SERVER_NAME": "east",
        "TIDEMILL_SERVER_HOST": "0.0.0.0",
        "TIDEMILL_SERVER_PORT": "0",
        "TIDEMILL_SERVER_TOKEN_FILE": "/etc/token",
        "TIDEMILL_SERVER_CERTIFICATE": "/etc/c.pem",
        "TIDEMILL_SERVER_PRIVATE_KEY": "/etc/k.pem",
        "TIDEMILL_SERVER_CLIENT_AUTHORITY": "/etc/a.pem",
        "TIDEMILL_SERVER_POLL_S": "2.5",
        "TIDEMILL_SERVER_THREADS": "3",
        "TIDEMILL_SERVER_MAX_ROWS": "4",
        "TIDEMILL_SERVER_MAX_BODY_MIB": "5",
        "HOME": "/root",
    }
    expected = ServerSettings(
        store="/data",
        root=Path("/etc/root.json"),
        production=True,
        state=Path("/tmp/s"),
        name="east",
        host="0.0.0.0",
        port=0,
        token_file=Path("/etc/token"),
        certificate=Path("/etc/c.pem"),
        private_key=Path("/etc/k.pem"),
        client_authority=Path("/etc/a.pem"),
        poll_s=2.5,
        threads=3,
        max_rows=4,
        max_body_mib=5,
    )
    assert load(ServerSettings, given) == expected
    defaults = ServerSettings.load(SERVER)
    assert all(
        getattr(expected, item.name) != getattr(defaults, item.name)
        for item in dataclasses.fields(ServerSettings)
        if item.name not in ("store", "root")
    )


def test_an_empty_variable_is_an_unset_one():
    assert GatewaySettings.load({**GATEWAY, "TIDEMILL_GATEWAY_PORT": " "}).port == 8090


def test_everything_that_is_wrong_is_said_at_once():
    environ = {"TIDEMILL_STORE": "/data", "TIDEMILL_GATEWAY_PORT": "65536", "TIDEMILL_GATEWAY_POLL_S": "-1"}
    with pytest.raises(SettingsError) as caught:
        GatewaySettings.load({**environ, "TIDEMILL_PRODUCTION": "maybe", "TIDEMILL_GATEWAY_TRIAL_MEMORY_MIB": "0"})
    message = str(caught.value)
    for name in (
        "TIDEMILL_ROOT is required",
        "TIDEMILL_GATEWAY_NAME is required",
        "TIDEMILL_GATEWAY_USECASE is required",
        "TIDEMILL_GATEWAY_PORT=65536",
        "TIDEMILL_GATEWAY_POLL_S=-1",
        "TIDEMILL_PRODUCTION=maybe",
        "TIDEMILL_GATEWAY_TRIAL_MEMORY_MIB=0",
    ):
        assert name in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TIDEMILL_STROE", "did you mean TIDEMILL_STORE?"),
        ("TIDEMILL_GATEWAY_PROT", "did you mean TIDEMILL_GATEWAY_PORT?"),
        ("TIDEMILL_XYZZY", "unset TIDEMILL_XYZZY"),
    ],
)
def test_a_misspelt_name_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(UnknownSettingError, match=re.escape(hint)):
        ServerSettings.load({**SERVER, name: "x"})


def test_names_of_the_other_programs_are_no_misspellings():
    reject_unknown(dict.fromkeys(KEYS, "x"))
    reject_unknown({"TIDEMILL_NEW": "x"}, {**KEYS, "TIDEMILL_NEW": "a name that another program adds"})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.local"])
@pytest.mark.parametrize(("kind", "base"), [(ServerSettings, SERVER), (GatewaySettings, GATEWAY)])
def test_a_door_to_the_world_needs_a_token_or_mutual_tls(kind, base, host):
    prefix = "TIDEMILL_SERVER" if kind is ServerSettings else "TIDEMILL_GATEWAY"
    tls = {f"{prefix}_CERTIFICATE": "/c", f"{prefix}_PRIVATE_KEY": "/k"}
    opened = {**base, f"{prefix}_HOST": host}
    with pytest.raises(RefusedBindError, match=f"{prefix}_TOKEN_FILE"):
        load(kind, opened)
    # A certificate tells callers who we are, not us who they are.
    with pytest.raises(RefusedBindError):
        load(kind, {**opened, **tls})
    assert load(kind, {**opened, f"{prefix}_TOKEN_FILE": "/t"}).host == host
    assert load(kind, {**opened, **tls, f"{prefix}_CLIENT_AUTHORITY": "/a"}).host == host


@pytest.mark.parametrize("lonely", ["CERTIFICATE", "PRIVATE_KEY", "CLIENT_AUTHORITY"])
def test_half_of_a_tls_setup_is_refused(lonely):
    with pytest.raises(SettingsError, match="TLS"):
        ServerSettings.load({**SERVER, f"TIDEMILL_SERVER_{lonely}": "/x"})


def test_the_table_has_one_described_line_per_setting():
    for kind in (ServerSettings, GatewaySettings):
        lines = table(kind)
        assert len({line.variable for line in lines}) == len(dataclasses.fields(kind))
        assert all(line.meaning and line.variable.startswith("TIDEMILL_") for line in lines)
    assert [line.default for line in table(ServerSettings)][:3] == ["required", "required", "false"]


@pytest.mark.parametrize("content", [b"", b"short", b"two words of length", b"\xffbinary-binary-binary"])
def test_a_token_that_protects_nothing_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="token"):
        read_token(path)


def test_a_token_is_read_without_its_newline(tmp_path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    assert read_token(path) == "0123456789abcdef"
    with pytest.raises(SettingsError, match="No such file"):
        read_token(tmp_path / "none")
