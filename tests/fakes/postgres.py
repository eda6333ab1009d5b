"""A PostgreSQL cluster of its own in a folder, on loopback, owned by a user that is not root."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.ports import free_port

USER = "postgres"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them apart by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).parent if named else None


def unable() -> str:
    """Return why there can be no cluster here; empty when there can."""
    if programs() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    if os.geteuid() == 0 and (_account() is None or not shutil.which("setpriv")):
        return "PostgreSQL does not run as root, and there is no user postgres or no setpriv"
    return ""


@contextmanager
def cluster(database: str = "airflow") -> Iterator[str]:
    """Run a cluster; the address of an empty database in it.

    Its folder is not one of pytest's: those are closed to the user that PostgreSQL runs as.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        account = _account() if os.geteuid() == 0 else None
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        with _running(Path(folder), account, database) as url:
            yield url


@contextmanager
def _running(folder: Path, account: pwd.struct_passwd | None, database: str) -> Iterator[str]:
    binaries = programs()
    assert binaries is not None
    port = free_port(0)
    prefix = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"] if account else []

    def run(program: str, *arguments: str) -> None:
        # Not captured: the server inherits the streams of whoever starts it, and they would never end.
        command = [*prefix, str(binaries / program), *arguments]
        with (folder / f"{program}.log").open("w+") as output:
            code = subprocess.run(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
            output.seek(0)
            assert code == 0, output.read()

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    # It lives for one test: nothing has to survive a power cut.
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "-D", data, "-w", "-t", "30", "-l", str(folder / "log"), "-o", options, "start")
    try:
        run("createdb", "-h", str(folder), "-p", str(port), "-U", USER, database)
        yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/{database}"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None
