"""docs/testing.md: its examples for pytest pass where Tekton is installed, as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIXTURE = re.compile(r"^\| `(tekton_\w+)` \|", re.MULTILINE)


def test_the_examples_for_pytest_pass(tmp_path: Path) -> None:
    examples = [text for text in _BLOCK.findall(PAGE.read_text()) if "(tekton_" in text]
    for number, text in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(text)
    (tmp_path / "billing.py").write_text('from tekton import Component\n\napp = Component("billing")\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert len(examples) == 3
    assert "3 passed" in result.stdout, result.stdout + result.stderr


def test_every_fixture_is_described(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--fixtures", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False).stdout

    offered = set(re.findall(r"^(tekton_\w+)", listed, re.MULTILINE))
    assert offered
    assert offered == set(_FIXTURE.findall(PAGE.read_text()))
