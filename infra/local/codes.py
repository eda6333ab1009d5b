"""Every error code of the house and what it means, read off the classes that raise it.

Errors live in modules named ``errors`` and only there, so the list is found by looking for those files; none of them
imports anything heavy.
"""

import difflib
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from features.errors import TidemillError
from infra.local.errors import ExplainError

PACKAGES = ("features", "serving", "pipelines", "dags", "infra.local")
_WHO_ACTS = {
    1: "a check failed or data is wrong",
    2: "it was called or configured wrongly",
    3: "something that is needed cannot be reached",
}


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of error.

    Attributes:
        code: ``TM-nnn``.
        name: Name of its class.
        module: Where the class is.
        text: What it means and what to do, for the person who met it.
        exit_code: With which the command ends.
    """

    code: str
    name: str
    module: str
    text: str
    exit_code: int

    @property
    def meaning(self) -> str:
        """The exit code in words."""
        return f"exit code {self.exit_code}: {_WHO_ACTS.get(self.exit_code, 'see the text')}"


def all_codes() -> list[Code]:
    """Return every code, sorted. A class that inherits its code is the same kind and not listed on its own."""
    for module in _error_modules():
        importlib.import_module(module)
    owners = [kind for kind in _kinds(TidemillError) if "code" in vars(kind)]
    return sorted((_code(kind) for kind in owners), key=lambda found: found.code)


def code(text: str) -> Code:
    """Return one code.

    Args:
        text: ``TM-301``, in any case, the letters may be missing.

    Raises:
        ExplainError: There is no such code; the message names near ones.

    Example:
        >>> code("tm-400").name
        'CommandError'
    """
    known = {found.code: found for found in all_codes()}
    wanted = f"TM-{text.upper().removeprefix('TM').removeprefix('-')}"
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, 3)
        raise ExplainError(f"there is no code {wanted}", fix=f"did you mean {', '.join(close)}?" if close else "")
    return known[wanted]


def _error_modules() -> Iterator[str]:
    for package in PACKAGES:
        found = importlib.import_module(package)
        for folder in found.__path__:
            for path in sorted(Path(folder).rglob("errors.py")):
                inside = path.relative_to(folder).with_suffix("").parts
                yield ".".join([package, *inside])


def _kinds(kind: type[TidemillError]) -> Iterator[type[TidemillError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


def _code(kind: type[TidemillError]) -> Code:
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n\nArgs:")[0]
    return Code(kind.code, kind.__name__, kind.__module__, text, kind.exit_code)
