"""The public interface as a type checker sees it: the files in `typing/` hold under `mypy --strict`."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_the_public_interface_has_the_types_that_it_should_have() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, FILES)]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)

    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
