from typing import Any

import msgspec
import pytest

from tekton.utils.config_components import LogRotation, ResourceLimits
from tekton.utils.tekton_config import ComponentSpec, DependencySpec, ProbeSpec, RestartSpec


def _component(folder: Any, entry: str, **environ: str) -> ComponentSpec:
    folder.write("components.json", '{"components": {"app": ENTRY}}'.replace("ENTRY", entry))
    spec: ComponentSpec = folder.load(**environ).components["app"]
    return spec


def _mistakes(folder: Any, entry: str, **environ: str) -> list[str]:
    folder.write("components.json", '{"components": {\n"app": ENTRY}}'.replace("ENTRY", entry))
    mistakes: list[str] = folder.mistakes(**environ)
    return mistakes


def test_a_component_needs_only_a_command(folder: Any) -> None:
    assert _component(folder, '{"command": ["python", "-m", "app"]}') == ComponentSpec(
        name="app",
        command=["python", "-m", "app"],
        env={},
        cwd=str(folder.path),
        port=None,
        dependencies=[],
        capabilities=[],
        ready=None,
        start_timeout=60.0,
        stop_timeout=10.0,
        restart=RestartSpec(policy="on-failure", max=5, reset_after=60.0, backoff=(1.0, 60.0)),
        constraints={},
        version="0.0.0",
        component_type="service",
        component_name="app",
        metadata={},
    )


def test_every_key_of_a_component_arrives(folder: Any) -> None:
    spec = _component(
        folder,
        """{"command": "run --name 'two words'", "env": {"A": "1"}, "cwd": "sub/../work", "port": 9001,
            "dependencies": ["hermes", {"component": "migrate", "condition": "completed"}],
            "capabilities": ["text_generation", "memory.read", "text_generation"],
            "ready": {"http": "/api/ready", "interval": 0.5, "timeout": 3},
            "start_timeout": 5, "stop_timeout": 2.5,
            "startup": {"log": "up", "successes": 2}, "liveness": {"exec": ["check"], "failures": 5},
            "on_dependency_failure": "restart", "user": "app:www",
            "limits": {"open_files": 1024, "memory": "512M"}, "log": {"max_size": 1000000, "keep": 5},
            "restart": {"policy": "always", "max": 2, "reset_after": 30, "backoff": [0.5, 8]},
            "constraints": {"gpu_mem_free_min": 2, "cpu_percent_max": 80, "memory_free_min": 0.5, "disk_free_min": 10},
            "version": "1.2.3", "type": "worker", "name": "The app", "metadata": {"team": ["x", 1, null]}}""",
    )

    assert spec == ComponentSpec(
        name="app",
        command=["run", "--name", "two words"],
        env={"A": "1"},
        cwd=str(folder.path / "work"),
        port=9001,
        dependencies=[DependencySpec(component="hermes"), DependencySpec(component="migrate", condition="completed")],
        capabilities=["text_generation", "memory.read"],
        startup=ProbeSpec(log="up", successes=2),
        ready=ProbeSpec(http="/api/ready", interval=0.5, timeout=3.0),
        liveness=ProbeSpec(exec=["check"], failures=5),
        on_dependency_failure="restart",
        user="app:www",
        limits=ResourceLimits(open_files=1024, memory=512 * 2**20),
        log=LogRotation(max_size=1_000_000, keep=5),
        start_timeout=5.0,
        stop_timeout=2.5,
        restart=RestartSpec(policy="always", max=2, reset_after=30.0, backoff=(0.5, 8.0)),
        constraints={
            "cpu_percent_max": 80.0,
            "memory_free_min": 0.5,
            "disk_free_min": 10.0,
            "gpu_mem_free_min": 2.0,
        },
        version="1.2.3",
        component_type="worker",
        component_name="The app",
        metadata={"team": ["x", 1, None]},
    )


def test_a_spec_survives_json(folder: Any) -> None:
    entry = '{"command": ["a"], "port": 1, "ready": {"tcp": true}, "dependencies": ["b"], "limits": {"memory": "1G"}}'
    spec = _component(folder, entry)

    assert msgspec.json.decode(msgspec.json.encode(spec), type=ComponentSpec) == spec


def test_the_representation_of_a_spec_shows_no_contents(folder: Any) -> None:
    spec = _component(folder, '{"command": ["a", "canary"], "env": {"TOKEN": "canary"}}')

    assert "canary" not in repr(spec)


def test_paths_are_relative_to_the_file_and_a_tilde_is_home(folder: Any) -> None:
    folder.write(
        "config/components.json",
        '{"components": {"a": {"command": ["x"], "cwd": "w"}, "b": {"command": ["x"], "cwd": "~/w"}}}',
    )

    components = folder.load().components

    assert components["a"].cwd == str(folder.path / "config" / "w")
    assert components["b"].cwd == str(folder.home / "w")


def test_the_start_timeout_of_all_is_the_default_of_each(folder: Any) -> None:
    assert _component(folder, '{"command": ["a"]}', TEKTON_COMPONENTS_STARTUP_TIMEOUT="7").start_timeout == 7.0


def test_variables_of_the_environment_and_the_own_port_can_be_used(folder: Any) -> None:
    spec = _component(
        folder,
        '{"command": ["serve", "--port", "${PORT}", "$${HOME}"], "env": {"URL": "http://${IP}:${PORT}"}, "port": 9001}',
        PORT="8080",
        IP="10.0.0.1",
    )

    assert spec.command == ["serve", "--port", "9001", "${HOME}"]
    assert spec.env == {"URL": "http://10.0.0.1:9001"}


def test_the_port_from_the_environment_is_the_one_in_the_command(folder: Any) -> None:
    spec = _component(folder, '{"command": ["serve", "${PORT}"], "port": 9001}', APP_PORT="9002")

    assert (spec.port, spec.command[1]) == (9002, "9002")


def test_the_port_of_the_control_plane_is_not_that_of_a_component(folder: Any) -> None:
    assert _mistakes(folder, '{"command": ["serve", "${PORT}"]}', PORT="8080") == [
        (
            "components.json:2:30: components.app.command.1: the environment variable PORT is not set"
            " (give the component a port)"
        )
    ]


def test_env_files_are_merged_and_env_wins(folder: Any) -> None:
    folder.write("one.env", "A=one\nB=one\nC=one\n")
    folder.write("sub/two.env", "B=two\nC=two\n")

    spec = _component(folder, '{"command": ["a"], "env_file": ["one.env", "sub/two.env"], "env": {"C": "env"}}')

    assert spec.env == {"A": "one", "B": "two", "C": "env"}
    assert _component(folder, '{"command": ["a"], "env_file": "one.env"}').env["A"] == "one"


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{}", "2:1: components.app has no 'command'"),
        ('{"command": []}', "2:20: components.app.command must not be empty"),
        ('{"command": ""}', "2:20: components.app.command: must not be empty"),
        ('{"command": [""]}', "2:20: components.app.command: names no program"),
        (
            '{"command": "a \'b"}',
            "2:20: components.app.command: a quotation mark is not closed (write it as a list of strings)",
        ),
        ('{"command": ["a\\u0000"]}', "2:21: components.app.command.0: must not contain the character NUL"),
        (
            '{"command": ["a"], "env": {"A=B": "x"}}',
            "2:35: components.app.env.A=B: 'A=B' cannot be the name of an environment variable",
        ),
        (
            '{"command": ["a"], "port": 0}',
            "2:35: components.app.port: expected a whole number from 1 to 65535, found 0",
        ),
        (
            '{"command": ["a"], "ready": {}}',
            "2:36: components.app.ready needs exactly one of http, tcp, log, exec, heartbeat; found none",
        ),
        (
            '{"command": ["a"], "port": 1, "ready": {"tcp": true, "log": "x"}}',
            "2:47: components.app.ready needs exactly one of http, tcp, log, exec, heartbeat; found tcp and log",
        ),
        (
            '{"command": ["a"], "ready": {"http": "/x"}}',
            "2:45: components.app.ready.http: the component has no port (give it a 'port')",
        ),
        (
            '{"command": ["a"], "ready": {"tcp": true}}',
            "2:44: components.app.ready.tcp: the component has no port (give it a 'port')",
        ),
        (
            '{"command": ["a"], "port": 1, "ready": {"tcp": false}}',
            "2:55: components.app.ready.tcp: can only be true (remove it)",
        ),
        (
            '{"command": ["a"], "port": 1, "ready": {"http": "health"}}',
            "2:56: components.app.ready.http: must be a path that begins with '/', or a whole URL (write '/health')",
        ),
        (
            '{"command": ["a"], "ready": {"log": "(x"}}',
            (
                "2:44: components.app.ready.log: is not a regular expression:"
                " missing ), unterminated subpattern at position 0"
            ),
        ),
        ('{"command": ["a"], "ready": {"exec": []}}', "2:45: components.app.ready.exec must not be empty"),
        (
            '{"command": ["a"], "ready": {"htpp": "/"}}',
            "2:37: unknown key 'components.app.ready.htpp' (did you mean 'http'?)",
        ),
        (
            '{"command": ["a"], "liveness": {"log": "up"}}',
            (
                "2:40: components.app.liveness.log: a line that was written once does not show that the component is"
                " alive (use one of http, tcp, exec)"
            ),
        ),
        (
            '{"command": ["a"], "liveness": {"interval": 1, "heartbeat": true}}',
            (
                "2:55: components.app.liveness.heartbeat: only `ready` can be reported by the component itself"
                " (use one of http, tcp, exec)"
            ),
        ),
        (
            '{"command": ["a"], "startup": {"heartbeat": true}}',
            (
                "2:39: components.app.startup.heartbeat: only `ready` can be reported by the component itself"
                " (use one of http, tcp, log, exec)"
            ),
        ),
        (
            '{"command": ["a"], "liveness": {"failures": 2}}',
            "2:39: components.app.liveness needs exactly one of http, tcp, exec; found none",
        ),
        (
            '{"command": ["a"], "startup": {"tcp": true}}',
            "2:46: components.app.startup.tcp: the component has no port (give it a 'port')",
        ),
        (
            '{"command": ["a"], "liveness": {"exec": ["x"], "failures": 0}}',
            "2:67: components.app.liveness.failures: expected a whole number from 1 to 1000, found 0",
        ),
        (
            '{"command": ["a"], "on_dependency_failure": "die"}',
            "2:52: components.app.on_dependency_failure: expected one of degrade, keep, restart, found 'die'",
        ),
        (
            '{"command": ["a"], "restart": {"backoff": [9, 1]}}',
            (
                "2:50: components.app.restart.backoff: the first delay is longer than the longest"
                " (write [shortest, longest])"
            ),
        ),
        (
            '{"command": ["a"], "constraints": {"gpu_free": 1}}',
            "2:43: unknown key 'components.app.constraints.gpu_free' (did you mean 'gpu_mem_free_min'?)",
        ),
        (
            '{"command": ["a"], "dependencies": ["Hermes"]}',
            (
                "2:44: components.app.dependencies.0: 'Hermes' is not a valid id (lower-case letters, digits,"
                " '-' and '_') (use 'hermes')"
            ),
        ),
        (
            '{"command": ["a"], "dependencies": [{"component": "b", "condition": "done"}]}',
            "2:76: components.app.dependencies.0.condition: expected one of completed, ready, started, found 'done'",
        ),
        (
            '{"command": ["a"], "dependencies": ["b", {"component": "b", "condition": "started"}]}',
            "2:49: app waits for b to be started here, and to be ready elsewhere (keep one of the two conditions)",
        ),
        (
            '{"command": ["a"], "limits": {"memory": "much"}}',
            "2:48: components.app.limits.memory: is no size (write a number of bytes, or one like '512M' or '2G')",
        ),
        (
            '{"command": ["a"], "log": {"keep": 21}}',
            "2:43: components.app.log.keep: expected a whole number from 1 to 20, found 21",
        ),
    ],
)
def test_a_mistake_in_a_component_is_reported_at_its_place(folder: Any, entry: str, problem: str) -> None:
    assert _mistakes(folder, entry) == [f"components.json:{problem}"]


def test_a_missing_env_file_is_a_mistake(folder: Any) -> None:
    assert _mistakes(folder, '{"command": ["a"], "env_file": "app.env"}') == [
        f"components.json:2:39: components.app.env_file: no such file: {folder.path}/app.env"
    ]


def test_mistakes_in_an_env_file_name_that_file(folder: Any) -> None:
    folder.write("app.env", "A=1\nB\n")

    assert _mistakes(folder, '{"command": ["a"], "env_file": "app.env"}') == ["app.env:2:1: expected NAME=value"]


@pytest.mark.parametrize("name", ["tekton", "tekton_core"])
def test_a_component_may_not_be_called_like_the_control_plane(folder: Any, name: str) -> None:
    folder.write("components.json", '{"components": {"NAME": {"command": ["a"]}}}'.replace("NAME", name))

    assert folder.mistakes() == [
        f"components.json:1:17: {name!r} is the control plane itself; a component needs another name"
    ]


@pytest.mark.parametrize("name", ["owner", "anonymous"])
def test_a_component_may_not_be_called_like_a_caller_that_is_not_one(folder: Any, name: str) -> None:
    folder.write("components.json", '{"components": {"NAME": {"command": ["a"]}}}'.replace("NAME", name))

    assert folder.mistakes() == [
        f"components.json:1:17: {name!r} is whom Tekton calls so; a component needs another name"
    ]


def test_dependencies_of_both_files_are_joined(folder: Any) -> None:
    folder.write("components.json", '{"components": {"app": {"command": ["a"], "dependencies": ["b", "c"]}}}')
    folder.write(
        "dependencies.json",
        '{"dependencies": {"app": ["c", {"component": "d", "condition": "started"}], "web": ["app"]}}',
    )

    config = folder.load()

    assert config.components["app"].dependencies == [
        DependencySpec(component="b"),
        DependencySpec(component="c"),
        DependencySpec(component="d", condition="started"),
    ]
    assert config.dependencies["web"] == (DependencySpec(component="app"),)


def test_a_contradiction_between_the_files_is_a_mistake(folder: Any) -> None:
    folder.write(
        "components.json",
        '{"components": {"app": {"command": ["a"], "dependencies": [{"component": "b", "condition": "completed"}]}}}',
    )
    folder.write("dependencies.json", '{"dependencies": {\n "app": ["c", "b"]}}')

    assert folder.mistakes() == [
        (
            "dependencies.json:2:15: app waits for b to be ready here, and to be completed elsewhere"
            " (keep one of the two conditions)"
        )
    ]


def test_missing_and_circular_dependencies_are_not_mistakes_of_the_configuration(folder: Any) -> None:
    spec = _component(folder, '{"command": ["a"], "dependencies": ["app", "nowhere"]}')

    assert [dependency.component for dependency in spec.dependencies] == ["app", "nowhere"]


def test_a_wrong_port_is_one_mistake_though_the_command_needs_it(folder: Any) -> None:
    mistakes = _mistakes(folder, '{"command": ["serve", "${PORT}"], "port": "high"}')

    assert len(mistakes) == 1
    assert "components.app.port" in str(mistakes[0])
