import json
import re
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from tekton.utils import config_schema
from tekton.utils.config_ports import port_variable
from tekton.utils.config_schema import CONTROL_PLANE, DEFAULT_PORTS, FILE_TYPES, SETTINGS, json_schema

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "reference" / "configuration.md").read_text()


def _rows() -> dict[str, list[str]]:
    """The rows of all tables of the page, by the text of their first cell."""
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in _PAGE.splitlines() if line.startswith("| `")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_variable_and_default(setting: config_schema.Setting) -> None:
    variable, default, meaning = _rows()[f"`{setting.name}`"]

    assert variable == f"`{setting.variable}`"
    assert default == _documented(setting.default)
    assert meaning.rstrip(".")


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = {name.strip("`") for name in _rows() if name.startswith("`tekton.")}

    assert documented == {setting.name for setting in SETTINGS}


def _documented(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@pytest.mark.parametrize(
    "struct",
    [
        config_schema.ComponentEntry,
        config_schema.ProbeSpec,
        config_schema.RestartSpec,
        config_schema.BreakerSpec,
        config_schema.FallbackSpec,
        config_schema.ConstraintSpec,
        config_schema.LimitSpec,
        config_schema.LogSpec,
    ],
)
def test_every_key_of_a_component_is_documented(struct: type[msgspec.Struct]) -> None:
    assert {f"`{field.encode_name}`" for field in msgspec.structs.fields(struct)} <= set(_rows())


def test_every_default_port_is_documented() -> None:
    rows = {tuple(row[:2]) for row in _rows().values()}

    for component, port in DEFAULT_PORTS.items():
        variable = "TEKTON_PORT" if component in CONTROL_PLANE else port_variable(component)
        assert (f"`{variable}`", str(port)) in rows


def test_every_variable_that_is_read_is_documented() -> None:
    source = (_ROOT / "python" / "tekton" / "utils" / "tekton_config.py").read_text()
    read = set(re.findall(r'environ, "([A-Z_]+)"', source)) - {"HOME"}

    assert {"TEKTON_SOCKET", "PORT"} <= read
    assert all(f"`{name}`" in _PAGE for name in read)


def test_the_json_examples_of_the_page_are_valid() -> None:
    for text in re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL):
        document = json.loads(text)
        [kind] = [kind for kind in FILE_TYPES if kind in document]
        msgspec.convert(document, FILE_TYPES[kind])


def test_the_shipped_files_hold_only_what_the_schema_knows() -> None:
    for kind, expected in FILE_TYPES.items():
        msgspec.json.decode((_ROOT / "config" / f"{kind}.json").read_bytes(), type=expected)


@pytest.mark.parametrize("kind", FILE_TYPES)
def test_there_is_a_json_schema_of_every_file(kind: str) -> None:
    schema = json_schema(kind)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert kind in json.dumps(schema)


def test_every_setting_and_key_has_a_description_for_editors() -> None:
    assert all(setting.description for setting in SETTINGS)
    fields = inspect.type_info(config_schema.ComponentEntry).fields  # type: ignore[attr-defined]
    for field in fields:
        described = isinstance(field.type, inspect.StructType) or field.type.extra_json_schema["description"]
        assert described, field.name
