"""Pages from templates: each is one HTML file without a single address in it."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2


def render(template: str, filters: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]) -> str:
    """Fill in a template of ``pipelines/templates``.

    Args:
        template: Its file name.
        filters: Functions the template may use, by name.
        values: Everything it shows; a name that is missing is an error.
    """
    return _compiled(template, tuple(filters.items())).render(values)


@cache
def _compiled(template: str, filters: tuple[tuple[str, Callable[..., Any]], ...]) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("pipelines").joinpath("templates", name).read_text()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(filters)
    return environment.get_template(template)
