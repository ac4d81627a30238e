import pytest

from tekton.utils.config_checks import Checker
from tekton.utils.config_origin import DEFAULT, Origin
from tekton.utils.config_ports import (
    AssignedPort,
    conflicting_ports,
    environment_port,
    port_variable,
    resolve_ports,
    written_ports,
)
from tekton.utils.config_values import InvalidValueError
from tekton.utils.json_document import parse


def _at(port: int, place: str = "default") -> AssignedPort:
    return AssignedPort(port, Origin(place))


@pytest.mark.parametrize(
    ("environ", "components", "listed", "expected"),
    [
        ({}, {}, {}, (8001, "default")),
        ({}, {}, {"hermes": _at(2, "ports.json:2")}, (2, "ports.json:2")),
        ({}, {"hermes": _at(3, "components.json:3")}, {"hermes": _at(2, "ports.json:2")}, (3, "components.json:3")),
        ({"HERMES_PORT": "4"}, {"hermes": _at(3)}, {"hermes": _at(2)}, (4, "env HERMES_PORT")),
        ({"HERMES_PORT": "4"}, {}, {}, (4, "env HERMES_PORT")),
        ({"HERMES_PORT": ""}, {}, {}, (8001, "default")),
        ({"HERMES_PORT": "tcp://10.96.0.12:8001"}, {}, {}, (8001, "default")),
    ],
)
def test_the_first_source_that_names_a_port_decides(
    environ: dict[str, str],
    components: dict[str, AssignedPort],
    listed: dict[str, AssignedPort],
    expected: tuple[int, str],
) -> None:
    ports, mistakes = resolve_ports(environ, [], components, listed)

    assert mistakes == []
    assert (ports["hermes"].port, ports["hermes"].origin.text) == expected


def test_a_component_without_a_default_can_get_its_port_from_the_environment() -> None:
    ports, _ = resolve_ports({"MY_APP_PORT": "9000"}, ["my-app", "other"], {}, {})

    assert ports["my-app"].port == 9000
    assert "other" not in ports


def test_each_wrong_variable_is_reported_once_and_the_rest_still_counts() -> None:
    ports, mistakes = resolve_ports({"HERMES_PORT": "x", "ENGRAM_PORT": "70000"}, ["hermes"], {}, {})

    assert [str(mistake) for mistake in mistakes] == [
        "env HERMES_PORT: expected a whole number from 1 to 65535, found 'x'",
        "env ENGRAM_PORT: expected a whole number from 1 to 65535, found '70000'",
    ]
    assert ports["hermes"] == (8001, DEFAULT)


def test_the_control_plane_is_left_out() -> None:
    ports, mistakes = resolve_ports({"TEKTON_PORT": "x"}, [], {}, {})

    assert not {"tekton", "tekton_core"} & set(ports)
    assert mistakes == []


def test_written_ports_are_found_in_both_shapes_and_wrong_ones_left_out() -> None:
    text = b'{"ports": {"a": 1, "b": "x", "c": {"port": 3}, "d": {}, "e": {"port": "${E}"}}}'
    document = parse(text, "f.json")

    ports = written_ports(document, "ports", Checker(document, lambda *_: "5"))

    assert {name: port.port for name, port in ports.items()} == {"a": 1, "c": 3, "e": 5}
    assert ports["c"].origin.text == "f.json:1"


def test_a_missing_table_has_no_ports() -> None:
    for text in (b"{}", b'{"ports": []}', b"{"):
        document = parse(text, "f.json")
        assert written_ports(document, "ports", Checker(document, lambda text, _: text)) == {}


def test_two_holders_of_one_port_are_a_mistake_of_the_later() -> None:
    mistakes = conflicting_ports(
        [("a", _at(1)), ("b", _at(2)), ("c", _at(1, "env C_PORT")), ("d", _at(0)), ("e", _at(0))]
    )

    assert [str(mistake) for mistake in mistakes] == ["env C_PORT: port 1 of c is already that of a"]


def test_variables_are_named_after_components() -> None:
    assert port_variable("hermes") == "HERMES_PORT"
    assert port_variable("my-app") == "MY_APP_PORT"


def test_a_port_in_the_environment_must_be_one() -> None:
    assert environment_port({}, "A_PORT") is None
    with pytest.raises(InvalidValueError, match="found 'tcp:8001'"):
        environment_port({"A_PORT": "tcp:8001"}, "A_PORT")
