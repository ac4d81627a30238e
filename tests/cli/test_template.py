"""Templates: a line of one's own for each item."""

from typing import Any

import click
import pytest

from tekton.cli.template import Template

FIELDS = ("name", "state", "port", "capabilities", "metadata", "serving", "note")
ITEM: dict[str, Any] = {
    "name": "hermes",
    "state": "ready",
    "port": None,
    "capabilities": ["text", "chat"],
    "metadata": {"team": "é"},
    "serving": True,
    "note": "over\ntwo lines \x1b[2J",
}


def filled(template: str) -> str:
    return Template(template, FIELDS).fill(ITEM)


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{name} {state}", "hermes ready"),
        ("{name}", "hermes"),
        ("just text", "just text"),
        ("{{{name}}}: {state}.", "{hermes}: ready."),
        ("{name:<8}|{state:>7}|{name:^8}|{state:7}|{name:3}", "hermes  |  ready| hermes |ready  |hermes"),
        (r"{name}\t{state}\n-\\t", "hermes\tready\n-\\t"),
        ("{port} {port:>4}", "-    -"),
        ("{capabilities}", "text,chat"),
        ("{metadata} {serving}", '{"team": "é"} true'),
        ("{note}", "over two lines  [2J"),
    ],
)
def test_a_template_is_filled_with_the_fields_of_an_item(template: str, line: str) -> None:
    assert filled(template) == line


def test_a_field_that_an_item_does_not_have_is_a_dash() -> None:
    assert Template("{state}", FIELDS).fill({}) == "-"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{stat}", "no field 'stat'; did you mean 'state'?"),
        ("{zzzzzzzz}", "no field 'zzzzzzzz'; there are name, state, port, capabilities, metadata, serving, note"),
        ("{name.__class__}", "no field 'name.__class__'"),
        ("{capabilities[0]}", r"no field 'capabilities\[0\]'"),
        ("{}", "no field ''"),
        ("{0}", "no field '0'"),
        ("{name!r}", "values are put in as they are, without !r"),
        ("{name:{state}}", "a width is written like 10, <10, >10 or "),
        ("{name:99999999}", "a width is written like"),
        ("{name:x}", "a width is written like"),
        ("{name", "expected '}' before end of string"),
        ("}", "Single '}' encountered"),
        ("", "what is a line to look like"),
    ],
)
def test_what_is_no_template_is_refused(template: str, reason: str) -> None:
    with pytest.raises(click.BadParameter, match=reason):
        Template(template, FIELDS)
