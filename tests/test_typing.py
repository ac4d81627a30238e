"""The public interface as a type checker sees it: `typing/` and the documented examples hold under `mypy --strict`."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))
PAGES = sorted(page for where in ("", "docs/**/", "examples/**/") for page in ROOT.glob(f"{where}*.md"))
LENIENT = '# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-not-found"\n'
"""An example need not annotate its own functions, and may import the program of another example."""

_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(folder: Path) -> list[Path]:
    """Each example of the documentation in a file of its own, named after its page."""
    files = []
    for page in PAGES:
        name = re.sub(r"\W", "_", str(page.relative_to(ROOT)))
        for number, text in enumerate(_PYTHON.findall(page.read_text()), 1):
            files.append(folder / f"{name}_{number}.py")
            files[-1].write_text(text + LENIENT)
    return files


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_the_public_interface_has_the_types_that_it_should_have(tmp_path: Path) -> None:
    """One run for both: most of it is reading the package."""
    written = examples(tmp_path)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, [*FILES, *written])]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)

    assert written
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 0)
