"""Fixtures of the tests of `tekton.utils`."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import ConfigurationError

Overrides = Mapping[str, object] | None


class Folder:
    """A working directory for a configuration, with an environment of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path.parent / "home"
        self.home.mkdir()

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.chmod(path, mode)
        return path

    def load(self, config: str | None = None, *, overrides: Overrides = None, **environ: str) -> TektonConfig:
        return TektonConfig.load(config, overrides, {"HOME": str(self.home), **environ}, self.path)

    def mistakes(self, config: str | None = None, *, overrides: Overrides = None, **environ: str) -> list[str]:
        """What a load reports, one text a mistake."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(config, overrides=overrides, **environ)
        return [str(mistake) for mistake in caught.value.mistakes]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "project"
    path.mkdir()
    return Folder(path)
