import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.redaction import REDACTED
from tekton.utils.tekton_config import (
    DEFAULT_PORTS,
    SETTINGS,
    ComponentEnvironment,
    TektonConfig,
    component_base_url,
    component_environment,
    environment_secrets,
    guard_descriptor,
    telemetry_variables,
)
from tekton.utils.tekton_errors import ConfigurationError
from tekton.utils.trace_context import TraceContext

_ROOT = Path(__file__).parents[2]
_SECRET = "Zq8-canary-Zq8-canary-Zq8-canary-0123"
_SECURITY = '{"security": {"jwt_secret": "SECRET"}}'.replace("SECRET", _SECRET)


def test_the_example_of_the_specification_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_ROOT)
    for name in DEFAULT_PORTS:
        monkeypatch.delenv(f"{name.upper()}_PORT", raising=False)

    config = TektonConfig.load_from_file("config/tekton.json")

    names = ("hermes", "engram", "rhetor", "tekton_core", "tekton", "hephaestus")
    assert [config.get_port(name) for name in names] == [8001, 8000, 8003, 8010, 8010, 8080]


def test_without_files_every_setting_has_its_default(folder: Any) -> None:
    config = folder.load()

    assert (config.host, config.port, config.log_level, config.log_format) == ("127.0.0.1", 8010, "info", "text")
    assert config.data_dir == folder.home / ".tekton" / "data"
    assert (config.enable_auth, config.jwt_secret, config.token_expiry) == ("auto", None, 3600.0)
    assert (config.enable_metrics, config.metrics_port, config.collection_interval) == (True, None, 10.0)
    assert (config.startup_timeout, config.heartbeat_interval, config.heartbeat_timeout) == (60.0, 10.0, 30.0)
    assert config.auto_recover is True
    assert config.components == {}
    assert config.ports == DEFAULT_PORTS
    assert set(config.sources.values()) == {"default"}


def test_the_main_file_of_the_specification_is_accepted(folder: Any) -> None:
    folder.write(
        "tekton.json",
        """{
          "$schema": "tekton.schema.json",
          "tekton": {
            "host": "0.0.0.0", "port": 8010, "data_dir": "/data/tekton", "log_level": "info",
            "security": {"enable_auth": true, "jwt_secret": "SECRET", "token_expiry": 3600},
            "monitoring": {"enable_metrics": true, "metrics_port": 9090, "collection_interval": 10},
            "components": {
              "startup_timeout": 60, "heartbeat_interval": 10, "heartbeat_timeout": 30, "auto_recover": true
            }
          }
        }""".replace("SECRET", _SECRET),
    )

    config = folder.load()

    assert (config.host, config.data_dir, config.enable_auth) == ("0.0.0.0", Path("/data/tekton"), True)
    assert (config.jwt_secret, config.metrics_port) == (_SECRET, 9090)


def test_the_sample_secret_of_the_specification_is_refused_by_name(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"security": {"jwt_secret": "your_jwt_secret_here"}}}')

    assert folder.mistakes() == [
        (
            "tekton.json:1:40: tekton.security.jwt_secret: is a sample value that everybody knows"
            " (remove it, and Tekton creates a random one in its data directory)"
        )
    ]


def test_all_mistakes_of_all_files_are_reported_at_once_in_order(folder: Any) -> None:
    folder.write(
        "tekton.json",
        """{
  "tekton": {
    "prot": 8010,
    "heartbeat_timeout": 3,
    "log_level": "inof",
    "host": "a", "host": "b",
    "port": "eight",
    "security": {"jwt_secret": "hunter2hunter2", "enable_auth": "atuo"},
    "components": {"heartbeat_timeout": 5, "startup_timeout": -1}
  }
}
""",
    )
    folder.write(
        "components.json",
        """{"components": {
  "Rhetor": {"command": ["a"]},
  "web": {"command": "a", "port": 8010, "ready": {"http": "/x", "tcp": true}},
  "job": {"comand": "x"}
}}
""",
    )
    folder.write("dependencies.json", '{"dependencies": {"web": "job"}}')
    folder.write("ports.json", '{"ports": {"web": 8010,}}')
    folder.write("security.json", '{"security": {"token_expiry": 0}}')

    mistakes = folder.mistakes(HERMES_PORT="x", TEKTON_LOG_FORMAT="xml", overrides={"data-dir": "/x"})

    assert mistakes == [
        "tekton.json:3:5: unknown key 'tekton.prot' (did you mean 'port'?)",
        "tekton.json:4:5: unknown key 'tekton.heartbeat_timeout' (it belongs in 'components')",
        (
            "tekton.json:5:18: tekton.log_level: expected one of critical, debug, error, info, warning, found 'inof'"
            " (did you mean 'info'?)"
        ),
        "tekton.json:6:18: duplicate key 'host' (first on line 6)",
        "tekton.json:7:13: tekton.port: expected a whole number from 0 to 65535, found 'eight'",
        (
            "tekton.json:8:32: tekton.security.jwt_secret: has 14 bytes; at least 32 are needed"
            " (remove it, and Tekton creates a random one in its data directory)"
        ),
        (
            "tekton.json:8:65: tekton.security.enable_auth: expected true or false or auto, found 'atuo'"
            " (did you mean 'auto'?)"
        ),
        "tekton.json:9:41: heartbeat_timeout (5 s) must be longer than heartbeat_interval (10 s)",
        "tekton.json:9:63: tekton.components.startup_timeout: expected a number above 0 and up to 31536000, found -1",
        (
            "components.json:2:3: components.Rhetor: 'Rhetor' is not a valid id (lower-case letters, digits,"
            " '-' and '_') (use 'rhetor')"
        ),
        "components.json:3:35: port 8010 of web is already that of the control plane",
        (
            "components.json:3:50: components.web.ready needs exactly one of http, tcp, log, exec, heartbeat;"
            " found http and tcp"
        ),
        "components.json:4:3: components.job has no 'command'",
        "components.json:4:11: unknown key 'components.job.comand' (did you mean 'command'?)",
        "dependencies.json:1:26: dependencies.web: expected a list, found 'job'",
        "ports.json:1:23: trailing comma before '}' (remove it)",
        "security.json:1:31: security.token_expiry: expected a number above 0 and up to 31536000, found 0",
        "command line: unknown setting 'data-dir' (did you mean 'data_dir'?)",
        "env TEKTON_LOG_FORMAT: tekton.log_format: expected one of json, text, found 'xml'",
        "env HERMES_PORT: expected a whole number from 1 to 65535, found 'x'",
    ]
    assert "hunter2" not in str(mistakes)


@pytest.mark.parametrize(
    ("file", "variable", "override", "expected"),
    [
        (None, None, None, (8010, "default")),
        (9001, None, None, (9001, "tekton.json:1")),
        (9001, "9002", None, (9002, "env TEKTON_PORT")),
        (9001, "9002", 9003, (9003, "command line")),
        (None, "9002", None, (9002, "env TEKTON_PORT")),
        (None, None, 9003, (9003, "command line")),
        (9001, "", None, (9001, "tekton.json:1")),
        (9001, "tcp://10.0.0.1:8010", None, (9001, "tekton.json:1")),
        (None, None, 0, (0, "command line")),
    ],
)
def test_defaults_give_way_to_files_to_the_environment_to_the_command_line(
    folder: Any, file: int | None, variable: str | None, override: int | None, expected: tuple[int, str]
) -> None:
    folder.write("tekton.json", json.dumps({"tekton": {} if file is None else {"port": file}}))
    environ = {} if variable is None else {"TEKTON_PORT": variable}

    config = folder.load(overrides={"port": override, "host": None}, **environ)

    assert (config.port, config.sources["tekton.port"]) == expected
    assert config.get_port("tekton_core") == config.get_port("tekton") == expected[0]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_can_be_set_in_the_file_the_environment_and_on_the_command_line(
    folder: Any, setting: Any
) -> None:
    written, text = _other_value(setting.attribute)
    document: Any = written
    for key in reversed(setting.name.split(".")):
        document = {key: document}

    from_environment = folder.load(**{setting.variable: text})
    from_command_line = folder.load(overrides={setting.name.removeprefix("tekton."): written})
    folder.write("tekton.json", json.dumps(document))
    from_file = folder.load()

    values = [getattr(config, setting.attribute) for config in (from_file, from_environment, from_command_line)]
    assert values[0] == values[1] == values[2]
    assert values[0] not in (setting.default, tuple(setting.default) if isinstance(setting.default, list) else ...)
    assert from_file.sources[setting.name] == "tekton.json:1"
    assert from_environment.sources[setting.name] == f"env {setting.variable}"
    assert from_command_line.sources[setting.name] == "command line"


def _other_value(attribute: str) -> tuple[Any, str]:
    """A value other than the default, as JSON and as text."""
    values: dict[str, tuple[Any, str]] = {
        "host": ("0.0.0.0", "0.0.0.0"),
        "data_dir": ("/data", "/data"),
        "log_level": ("debug", "DEBUG"),
        "log_format": ("json", "json"),
        "profiles": (["gpu", "all"], "gpu, all"),
        "mdns": (True, "on"),
        "enable_auth": (False, "no"),
        "jwt_secret": (_SECRET, _SECRET),
        "allowed_hosts": (["a", "b"], "a, b"),
        "allowed_origins": (["https://a"], "https://a"),
        "trusted_proxies": (["10.0.0.0/8", "::1"], "10.0.0.0/8, ::1"),
        "tls_cert": ("/tls/cert.pem", "/tls/cert.pem"),
        "tls_key": ("/tls/key.pem", "/tls/key.pem"),
        "tls_client_ca": ("/tls/ca.pem", "/tls/ca.pem"),
        "callback_networks": (["10.0.0.0/8", "::1"], "10.0.0.0/8, ::1"),
        "key_life": (5000, "5000"),
        "audit_limit": (5000, "5000"),
        "agent_card_keys": ("/keys/agents.json", "/keys/agents.json"),
        "audit_heads": ("/audit/heads", "/audit/heads"),
        "enable_metrics": (False, "false"),
        "trace_ratio": (0.5, "0.5"),
        "otlp_endpoint": ("http://collector:4318", "http://collector:4318"),
        "auto_recover": (False, "off"),
        "history_limit": (5000, "5000"),
        "history_size": (5_000_000, "5000000"),
        "enable_streams": (False, "no"),
        "streams_size": (5_000_000, "5000000"),
        "max_conversation_size": (5_000_000, "5000000"),
        "max_open_size": (5_000_000, "5000000"),
        "max_open_size_per_owner": (5_000_000, "5000000"),
    }
    return values.get(attribute, (25, "25"))


def test_the_attributes_are_the_settings() -> None:
    fields = {field.name for field in dataclasses.fields(TektonConfig)}
    assert {setting.attribute for setting in SETTINGS} <= fields
    assert fields - {setting.attribute for setting in SETTINGS} == {
        "components", "dependencies", "fallbacks", "streams", "ports", "roles", "principals", "sources", "files",
        "secrets",
    }  # fmt: skip


def test_a_relative_data_directory_belongs_to_where_it_is_written(folder: Any) -> None:
    folder.write("config/tekton.json", '{"tekton": {"data_dir": "data"}}')

    assert folder.load().data_dir == folder.path / "config" / "data"
    assert folder.load(TEKTON_DATA_DIR="data").data_dir == folder.path / "data"
    assert folder.load(TEKTON_DATA_DIR="~/data").data_dir == folder.home / "data"
    assert folder.load(overrides={"data_dir": Path("/x/../data")}).data_dir == Path("/data")


def test_the_file_is_named_by_the_command_line_then_by_the_environment(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"port": 1}}')
    folder.write("two.json", '{"tekton": {"port": 2}}')
    folder.write("three.json", '{"tekton": {"port": 3}}')

    assert folder.load().port == 1
    assert folder.load(TEKTON_CONFIG_FILE="two.json").port == 2
    assert folder.load("three.json", TEKTON_CONFIG_FILE="two.json").port == 3
    assert folder.load("three.json").files.main == folder.path / "three.json"


def test_a_file_that_the_environment_names_must_exist(folder: Any) -> None:
    assert folder.mistakes(TEKTON_CONFIG_FILE="~/none.json") == [
        f"env TEKTON_CONFIG_FILE: no such file: {folder.home}/none.json"
    ]


def test_a_file_outside_the_working_directory_is_named_in_full(folder: Any) -> None:
    path = folder.home / "tekton.json"
    path.write_text('{"tekton": {"port": 1}}')

    assert folder.load(str(path)).sources["tekton.port"] == f"{path}:1"


def test_a_byte_order_mark_does_not_matter(folder: Any) -> None:
    (folder.path / "tekton.json").write_bytes(b'\xef\xbb\xbf{"tekton": {"port": 1}}')

    assert folder.load().port == 1


def test_values_of_files_may_come_from_variables(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"port": "${P:-9001}", "data_dir": "${HOME}/d", "host": "$${x}"}}')

    config = folder.load(P="9002")

    assert (config.port, config.data_dir, config.host) == (9002, folder.home / "d", "${x}")
    assert folder.load().port == 9001


def test_security_settings_may_stand_in_their_own_file(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"security": {"enable_auth": true}}}')
    folder.write("security.json", '{"security": {\n"enable_auth": true, "token_expiry": 60}}')

    config = folder.load()

    assert (config.enable_auth, config.token_expiry) == (True, 60.0)
    assert config.sources["tekton.security.token_expiry"] == "security.json:2"


def test_a_setting_with_two_values_in_two_files_is_a_contradiction(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"security": {"token_expiry": 60}}}')
    folder.write("security.json", '{"security": {"token_expiry": 61}}')

    assert folder.mistakes() == ["security.json:1:31: tekton.security.token_expiry has another value in tekton.json:1"]


def test_a_secret_in_a_file_for_everybody_is_refused_unless_it_is_a_variable(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("security.json", _SECURITY, mode=0o644)
    mistakes = folder.mistakes()
    assert mistakes == [
        "security.json:1:29: security.jwt_secret stands in a file that every user can read (chmod 600 security.json)"
    ]

    folder.write("security.json", '{"security": {"jwt_secret": "${S}"}}', mode=0o644)
    assert folder.load(S=_SECRET).jwt_secret == _SECRET


def test_ports_file_sets_the_port_of_the_control_plane_below_the_main_file(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("ports.json", '{"ports": {\n"tekton_core": 9000, "web": 9001}}')
    config = folder.load()
    assert (config.port, config.sources["tekton.port"]) == (9000, "ports.json:2")
    assert (config.get_port("web"), config.sources["ports.web"]) == (9001, "ports.json:2")

    folder.write("tekton.json", '{"tekton": {"port": 9002}}')
    assert folder.load().get_port("tekton_core") == 9002


@pytest.mark.parametrize(
    ("files", "environ", "mistake"),
    [
        (
            {
                "components.json": '{"components": {"a": {"command": ["x"], "port": 1},\n'
                '"b": {"command": ["x"], "port": 1}}}'
            },
            {},
            "components.json:2:33: port 1 of b is already that of a",
        ),
        (
            {"tekton.json": "{}", "ports.json": '{"ports": {"a": 1, "b": 1}}'},
            {},
            "ports.json:1:25: port 1 of b is already that of a",
        ),
        (
            {
                "components.json": '{"components": {"a": {"command": ["x"], "port": 3},\n'
                '"b": {"command": ["x"], "port": 1, "replicas": 3}}}'
            },
            {},
            "components.json:2:33: port 3 of replica 2 of b is already that of a",
        ),
        (
            {
                "components.json": '{"components": {"a": {"command": ["x"], "port": 1, "replicas": 3},\n'
                '"b": {"command": ["x"], "port": 3}}}'
            },
            {},
            "components.json:2:33: port 3 of b is already that of a",
        ),
        (
            {"components.json": '{"components": {"a": {"command": ["x"], "port": 65534, "replicas": 3}}}'},
            {},
            "components.json:1:49: 3 replicas of a need ports up to 65536; the last there is is 65535",
        ),
        (
            {"components.json": '{"components": {"a": {"command": ["x"]}}}'},
            {"A_PORT": "8010"},
            "env A_PORT: port 8010 of a is already that of the control plane",
        ),
        (
            {"tekton.json": '{"tekton": {"monitoring": {"metrics_port": 8010}}}'},
            {},
            "tekton.json:1:44: port 8010 of the metrics is already that of the control plane",
        ),
    ],
)
def test_two_holders_of_one_port_are_a_mistake(
    folder: Any, files: dict[str, str], environ: dict[str, str], mistake: str
) -> None:
    for name, text in files.items():
        folder.write(name, text)

    assert folder.mistakes(**environ) == [mistake]


def test_the_default_port_of_a_component_that_is_not_there_is_free(folder: Any) -> None:
    folder.write("components.json", '{"components": {"web": {"command": ["x"], "port": 8001}}}')

    assert folder.load().get_port("web") == 8001


def test_a_component_of_the_specification_has_its_default_port(folder: Any) -> None:
    folder.write("components.json", '{"components": {"hermes": {"command": ["x"]}}}')

    config = folder.load()

    assert config.components["hermes"].port == 8001
    assert config.sources["components.hermes"] == "components.json:1"


def test_an_unknown_port_is_asked_for_with_the_nearest_name(folder: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"no port is known for 'hermse' \(did you mean 'hermes'\?\)"):
        folder.load().get_port("hermse")
    with pytest.raises(ConfigurationError, match=r"set MY_APP_PORT, or give it a port in ports.json"):
        folder.load().get_port("my-app")


def test_show_tells_values_and_sources_and_no_secrets(folder: Any) -> None:
    folder.write("app.env", "DB_PASSWORD=canary-one\nLEVEL=3\n")
    folder.write("security.json", _SECURITY)
    folder.write("tekton.json", "{}")
    folder.write(
        "components.json",
        """{"components": {"app": {
            "command": ["run", "--token=${API_TOKEN}", "--db=canary-one", "redis://me:canary-two@cache"],
            "env": {"OTHER_SECRET": "canary-three", "MODE": "fast"}, "env_file": "app.env",
            "metadata": {"api_key": "canary-four"}}}}""",
    )

    config = folder.load(API_TOKEN="canary-five", TEKTON_PORT="9000")
    rows = {row.name: row for row in config.show()}

    assert "canary" not in str(rows)
    assert "canary" not in repr(config)
    assert rows["tekton.port"] == ("tekton.port", 9000, "env TEKTON_PORT")
    assert rows["tekton.security.jwt_secret"] == ("tekton.security.jwt_secret", REDACTED, "security.json:1")
    assert rows["tekton.data_dir"].value == str(folder.home / ".tekton" / "data")
    assert rows["ports.hermes"] == ("ports.hermes", 8001, "default")
    assert rows["components.app"].source == "components.json:1"
    assert rows["components.app"].value["env"] == {
        "DB_PASSWORD": REDACTED, "LEVEL": "3", "OTHER_SECRET": REDACTED, "MODE": "fast",
    }  # fmt: skip
    assert config.redact("it said canary-five") == f"it said {REDACTED}"
    json.dumps([row.value for row in config.show()])


def test_a_secret_that_lands_in_a_mistake_is_redacted_there(folder: Any) -> None:
    folder.write("components.json", '{"components": {"app": {"command": ["a"], "capabilities": ["${API_TOKEN}"]}}}')

    assert "Canary" not in str(folder.mistakes(API_TOKEN="Canary Value"))


def test_the_environment_of_a_component_is_read() -> None:
    environ = {
        "TEKTON_URL": "http://10.0.0.1:8010/",
        "TEKTON_SOCKET": "/run/control.sock",
        "TEKTON_CREDENTIAL_FILE": "/run/credential",
        "TEKTON_COMPONENT_ID": "rhetor",
        "TEKTON_INSTANCE_UUID": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
        "PORT": "8003",
    }

    assert component_environment(environ) == ComponentEnvironment(
        url="http://10.0.0.1:8010",
        socket=Path("/run/control.sock"),
        credential_file=Path("/run/credential"),
        component_id="rhetor",
        instance_uuid="6f9619ff-8b86-4011-b42d-00c04fc964ff",
        port=8003,
        url_given=True,
    )


def test_a_component_goes_on_with_the_trace_of_its_start() -> None:
    environ = {"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01", "TRACESTATE": "x=1"}

    assert component_environment(environ).trace == TraceContext("a" * 32, "b" * 16, True, "x=1")
    assert component_environment({"TRACEPARENT": "nonsense"}).trace is None


@pytest.mark.parametrize(
    ("environ", "ratio"),
    [
        ({}, 1.0),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER_ARG": "all"}, 1.0),
        ({"OTEL_TRACES_SAMPLER_ARG": "7"}, 1.0),
        ({"OTEL_TRACES_SAMPLER_ARG": "nan"}, 1.0),
        ({"OTEL_SDK_DISABLED": "True"}, 0.0),
    ],
)
def test_the_variables_of_opentelemetry_say_how_much_is_traced(environ: dict[str, str], ratio: float) -> None:
    assert component_environment(environ).trace_ratio == ratio


def test_which_variables_of_opentelemetry_are_set_is_known() -> None:
    assert telemetry_variables({"OTEL_SERVICE_NAME": "x", "PATH": "/bin"}) == {"OTEL_SERVICE_NAME": "x"}


def test_outside_tekton_the_control_plane_is_expected_on_this_machine() -> None:
    assert component_environment({}) == ComponentEnvironment(url="http://localhost:8010")
    assert component_environment({"TEKTON_PORT": "9000"}).url == "http://localhost:9000"


def test_the_descriptor_of_the_guard_is_read() -> None:
    assert guard_descriptor({}) is None
    assert guard_descriptor({"TEKTON_GUARD_FD": "7"}) == 7
    with pytest.raises(ConfigurationError, match="env TEKTON_GUARD_FD: expected a descriptor, found '-1'"):
        guard_descriptor({"TEKTON_GUARD_FD": "-1"})


def test_the_credential_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "credential"
    path.write_text("abc\n")

    assert ComponentEnvironment(url="").credential() is None
    assert ComponentEnvironment(url="", credential_file=path).credential() == "abc"
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        ComponentEnvironment(url="", credential_file=tmp_path / "none").credential()


@pytest.mark.parametrize(
    ("component", "environ", "url"),
    [
        ("hermes", {}, "http://localhost:8001"),
        ("hermes", {"HERMES_PORT": "9001", "HERMES_HOST": "0.0.0.0"}, "http://localhost:9001"),
        ("hermes", {"HERMES_URL": "http://hermes:8001/api", "HERMES_PORT": "9001"}, "http://hermes:8001"),
        ("hermes", {"HERMES_URL": "https://gw.example/hermes/api/"}, "https://gw.example/hermes"),
        ("hermes", {"HERMES_URL": "http://[::1]:8001"}, "http://[::1]:8001"),
        ("tekton_core", {"TEKTON_PORT": "9000"}, "http://localhost:9000"),
        ("my-app", {"MY_APP_PORT": "7000"}, "http://localhost:7000"),
    ],
)
def test_where_a_component_is_reached(component: str, environ: dict[str, str], url: str) -> None:
    assert component_base_url(component, environ) == url


@pytest.mark.parametrize(
    ("component", "environ", "problem"),
    [
        ("hermse", {}, "did you mean 'hermes'"),
        ("hermes", {"HERMES_PORT": "x"}, "env HERMES_PORT: expected a whole number"),
        ("hermes", {"HERMES_URL": "hermes:8001"}, "env HERMES_URL: expected a URL such as"),
        ("hermes", {"HERMES_URL": "ftp://hermes"}, "expected a URL"),
        ("hermes", {"HERMES_URL": "http://:8001"}, "expected a URL"),
        ("hermes", {"HERMES_URL": "http://hermes:99999"}, "expected a URL"),
        ("hermes", {"HERMES_URL": "http://hermes/?a=b"}, "expected a URL"),
        ("hermes", {"HERMES_URL": "http://me:pass@hermes/"}, r"found 'http://me:\[redacted\]@hermes/'"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(component: str, environ: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        component_base_url(component, environ)


def test_importing_the_configuration_imports_nothing_heavy() -> None:
    code = (
        "import sys, tekton.utils.tekton_config, tekton.utils.tekton_http;"
        "print([name for name in ('aiohttp', 'click', 'psutil', 'granian', 'apsw') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_secrets_of_the_environment_are_known_by_their_names() -> None:
    assert environment_secrets({"DB_PASSWORD": "a", "API_KEY": "", "HOME": "b"}) == {"a"}
