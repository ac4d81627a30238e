import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.data_dir import find_data_dir
from tekton.utils.tekton_errors import ConfigurationError


@pytest.fixture
def data_dir_of(folder: Any) -> Callable[..., Path]:
    return lambda **environ: find_data_dir(None, {"HOME": str(folder.home), **environ}, folder.path)


def test_the_data_directory_alone_is_the_one_of_the_whole_configuration(
    folder: Any, data_dir_of: Callable[..., Path]
) -> None:
    assert data_dir_of() == folder.load().data_dir == folder.home / ".tekton" / "data"
    folder.write("config/tekton.json", '{"tekton": {"data_dir": "../d"}}')
    assert data_dir_of() == folder.load().data_dir == folder.path / "d"
    assert data_dir_of(TEKTON_DATA_DIR="e") == folder.load(TEKTON_DATA_DIR="e").data_dir == folder.path / "e"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("components.json", '{"components": {"x": {}}}'),
        ("components.json", "{"),
        ("ports.json", '{"ports": {"x": "y"}}'),
        ("tekton.json", '{"tekton": {"data_dir": "d", "prot": 1, "log_level": "loud"}}'),
    ],
)
def test_mistakes_elsewhere_do_not_hide_a_data_directory_that_is_written_out(
    folder: Any, data_dir_of: Callable[..., Path], name: str, text: str
) -> None:
    folder.write("tekton.json", '{"tekton": {"data_dir": "d"}}')
    folder.write(name, text)

    assert data_dir_of() == folder.path / "d"


@pytest.mark.parametrize(
    "text",
    ['{"tekton": {"dta_dir": "d"}}', "{", '{"tekton": {"data_dir": 5}}', '{"tekton": {"data_dir": "${X}"}}', "[]"],
)
def test_a_main_file_that_leaves_the_data_directory_open_is_an_error(
    folder: Any, data_dir_of: Callable[..., Path], text: str
) -> None:
    folder.write("tekton.json", text)

    with pytest.raises(ConfigurationError):
        data_dir_of()
    assert data_dir_of(TEKTON_DATA_DIR="/d") == Path("/d")


def test_a_data_directory_in_the_environment_may_be_wrong_too(data_dir_of: Callable[..., Path]) -> None:
    with pytest.raises(ConfigurationError):
        data_dir_of(TEKTON_DATA_DIR="\0")


@pytest.mark.parametrize(
    "text",
    [
        '{"tekton": {"data_dir": "a", "data_dir": "b"}}',
        '\ufeff{"tekton": {"data_dir": "a"}}',
        '{"tekton": {"data_dir": "${WHERE}"}}',
        '{"tekton": {"data_dir": "$a"}}',
        '{"tekton": {"data_dir": "a$$b"}}',
        '{"tekton": {"data_dir": "~/d"}}',
        '{"tekton": {"port": 1}}',
        "{}",
    ],
)
def test_it_is_never_another_one_than_that_of_the_whole_configuration(folder: Any, text: str) -> None:
    folder.write("tekton.json", text)

    try:
        whole: Path | None = folder.load(WHERE="w").data_dir
    except ConfigurationError:
        whole = None  # a broken configuration may still name it

    environ = {"HOME": str(folder.home), "WHERE": "w"}
    assert find_data_dir(None, environ, folder.path) == whole or whole is None


def test_of_two_the_first_counts(folder: Any, data_dir_of: Callable[..., Path]) -> None:
    folder.write("tekton.json", '{"tekton": {"data_dir": "a", "data_dir": "b"}}')

    assert data_dir_of() == folder.path / "a"


def test_a_file_that_was_named_must_exist(folder: Any, data_dir_of: Callable[..., Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"command line: no such file"):
        find_data_dir("nowhere.json", {"TEKTON_DATA_DIR": "/d"}, folder.path)
    with pytest.raises(ConfigurationError, match=r"env TEKTON_CONFIG_FILE: no such file"):
        data_dir_of(TEKTON_CONFIG_FILE="nowhere.json")


def test_finding_one_that_is_written_out_does_not_load_the_configuration(folder: Any) -> None:
    folder.write("tekton.json", '{"tekton": {"data_dir": "d"}}')
    code = (
        "import sys; from tekton.utils.data_dir import find_data_dir; print(find_data_dir());"
        "print([name for name in ('msgspec', 'tekton.utils.config_loader') if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], cwd=folder.path, capture_output=True, text=True, check=True)

    assert result.stdout == f"{folder.path / 'd'}\n[]\n"
