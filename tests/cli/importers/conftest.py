"""What an import makes must be a right configuration."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.cli.importers.draft import Draft
from tekton.utils.tekton_config import ComponentSpec, TektonConfig

Loaded = Callable[[Draft], dict[str, ComponentSpec]]


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """`loaded(draft)`: the components that Tekton would run; fails when it would refuse them."""

    def load(draft: Draft, **environ: Any) -> dict[str, ComponentSpec]:
        (tmp_path / "components.json").write_text(json.dumps({"components": draft.components}))
        config = TektonConfig.load(tmp_path, environ={"HOME": str(tmp_path), **environ}, cwd=tmp_path)
        return config.components

    return load


@pytest.fixture
def notes() -> Callable[[Draft], dict[str, str]]:
    """`notes(draft)`: what was noted, by place."""
    return lambda draft: dict(draft.notes)
