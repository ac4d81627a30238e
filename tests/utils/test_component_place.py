"""What the environment says of a component that Tekton has not started."""

import pytest

from tekton.utils.tekton_config import ComponentPlace, component_place
from tekton.utils.tekton_errors import ConfigurationError

EVERYTHING = {
    "MY_APP_HOST": "0.0.0.0",
    "MY_APP_URL": "http://10.1.2.3:8100/api",
    "MY_APP_ALLOWED_HOSTS": "my-app, my-app.default.svc",
    "MY_APP_MAX_INSTANCES": "3",
    "MY_APP_FORGET_AFTER": "3600",
    "HERMES_HOST": "10.9.9.9",
}


def test_its_variables_begin_with_its_id() -> None:
    hosts = ("my-app", "my-app.default.svc")

    assert component_place("my-app", EVERYTHING) == ComponentPlace("0.0.0.0", "http://10.1.2.3:8100", hosts, 3, 3600.0)


def test_nothing_is_said_by_an_empty_environment() -> None:
    assert component_place("my-app", {"MY_APP_ALLOWED_HOSTS": " ", "MY_APP_HOST": ""}) == ComponentPlace()


def test_what_the_environment_does_not_say_the_program_does() -> None:
    program = ComponentPlace("127.0.0.1", None, ("localhost",), 2)

    place = component_place("my-app", {"MY_APP_HOST": "::"}).over(program)

    assert place == ComponentPlace("::", None, ("localhost",), 2)


def test_the_name_in_its_url_is_one_of_its_names() -> None:
    assert component_place("my-app", EVERYTHING).names == ("10.1.2.3", "my-app", "my-app.default.svc")
    assert ComponentPlace().names == ()


@pytest.mark.parametrize(
    ("variable", "text", "problem"),
    [
        ("MY_APP_URL", "my-app:80", "expected a URL such as http://hermes:8001/api, found 'my-app:80'"),
        ("MY_APP_MAX_INSTANCES", "two", "expected a number, found 'two'"),
        ("MY_APP_FORGET_AFTER", "1h", "expected a number, found '1h'"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_of_its_variable(variable: str, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        component_place("my-app", {variable: text})

    assert [(mistake.source, mistake.problem) for mistake in caught.value.mistakes] == [(f"env {variable}", problem)]
