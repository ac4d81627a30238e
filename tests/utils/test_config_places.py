import os
from pathlib import Path
from typing import Any

import pytest

from tekton.utils.config_places import environment_text, find_files
from tekton.utils.tekton_errors import ConfigurationError


def _found(folder: Any, named: str | None = None, cwd: Path | None = None) -> list[str]:
    files = find_files(None if named is None else Path(named), "command line", cwd or folder.path, folder.home)
    return [os.path.relpath(path, folder.path) for path in files.paths()]


def test_without_any_file_there_is_nothing_to_read(folder: Any) -> None:
    assert _found(folder) == []


def test_the_other_files_lie_beside_the_main_file(folder: Any) -> None:
    for name in ("tekton", "components", "dependencies", "ports", "security", "other"):
        folder.write(f"config/{name}.json", "{}")

    assert _found(folder) == [
        f"config/{name}.json" for name in ("tekton", "components", "dependencies", "ports", "security")
    ]


def test_the_nearest_main_file_upward_is_taken(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("a/config/tekton.json", "{}")
    deep = folder.path / "a" / "b" / "c"
    deep.mkdir(parents=True)

    assert _found(folder, cwd=deep) == ["a/config/tekton.json"]
    assert _found(folder) == ["tekton.json"]


def test_a_components_file_alone_is_enough_in_the_working_directory(folder: Any) -> None:
    folder.write("components.json", '{"components": {}}')
    below = folder.path / "below"
    below.mkdir()

    assert _found(folder) == ["components.json"]
    assert _found(folder, cwd=below) == []


def test_a_components_file_in_the_working_directory_comes_before_a_main_file_above(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("below/components.json", '{"components": {}}')

    assert _found(folder, cwd=folder.path / "below") == ["below/components.json"]


def test_a_components_file_of_another_tool_is_left_alone(folder: Any) -> None:
    folder.write("components.json", '{"style": "new-york", "aliases": {"components": "@/components"}}')

    assert _found(folder) == []
    assert _found(folder, "components.json") == ["components.json"]


@pytest.mark.parametrize("text", ['{"componets": {}}', '{"components": {,}}', "{}"])
def test_a_components_file_with_a_mistake_in_it_is_still_ours(folder: Any, text: str) -> None:
    folder.write("components.json", text)

    assert _found(folder) == ["components.json"]


def test_the_personal_file_is_the_last_resort(folder: Any) -> None:
    personal = folder.home / ".tekton"
    personal.mkdir()
    (personal / "config.json").write_text("{}")
    (personal / "components.json").write_text("{}")

    assert _found(folder) == ["../home/.tekton/config.json", "../home/.tekton/components.json"]


def test_a_home_that_cannot_be_entered_is_an_empty_one(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> os.stat_result:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)  # a mode would not stop a test that runs as root
        files = find_files(None, "", folder.path, folder.home)

    assert files.paths() == ()


def test_a_named_file_may_have_any_name(folder: Any) -> None:
    folder.write("my.json", '{"tekton": {}}')
    folder.write("stack.json", '{"components": {}}')
    folder.write("components.json", "{}")

    assert _found(folder, "my.json") == ["my.json", "components.json"]
    assert _found(folder, "stack.json") == ["stack.json"]


def test_a_named_components_file_takes_the_main_file_beside_it(folder: Any) -> None:
    folder.write("tekton.json", "{}")
    folder.write("components.json", "{}")

    assert _found(folder, "components.json") == ["tekton.json", "components.json"]


def test_a_directory_may_be_named(folder: Any) -> None:
    folder.write("a/tekton.json", "{}")
    folder.write("b/components.json", "{}")
    (folder.path / "c").mkdir()

    assert _found(folder, "a") == ["a/tekton.json"]
    assert _found(folder, "b") == ["b/components.json"]
    with pytest.raises(ConfigurationError, match=r"command line: no tekton.json or components.json in "):
        _found(folder, "c")


def test_a_named_file_must_exist_and_a_similar_one_is_suggested(folder: Any) -> None:
    folder.write("tekton.json", "{}")

    with pytest.raises(ConfigurationError, match=r"no such file: .*tekon.json \(did you mean .*/tekton.json\?\)"):
        _found(folder, "tekon.json")
    with pytest.raises(ConfigurationError, match=r"no such file"):
        _found(folder, "nowhere/tekton.json")


def test_an_empty_variable_is_not_set() -> None:
    assert environment_text({"A": "  "}, "A") is None
    assert environment_text({"A": " b "}, "A") == "b"
