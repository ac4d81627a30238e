"""Power cuts under the real store. `TEKTON_POWER_CUTS` sets how many (400; more in CI and at night)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("store_power_cuts.py")
CUTS = int(os.environ.get("TEKTON_POWER_CUTS", "400"))


def run(cuts: int, *options: str) -> dict[str, Any]:
    """Outcomes of the program; its seeds are fixed, so a violation repeats."""
    command = [sys.executable, str(PROGRAM), "--cuts", str(cuts), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50 + cuts / 5)
    assert result.stdout, result.stderr
    outcome: dict[str, Any] = json.loads(result.stdout)
    return outcome


@pytest.mark.timeout(60 + CUTS / 5)
def test_no_power_cut_loses_or_tears_an_acknowledged_change() -> None:
    outcome = run(CUTS)

    assert outcome["violations"] == []
    assert outcome["whole"] >= CUTS
    assert {"migrating", "committing", "checkpointing"} <= set(outcome["while"])


@pytest.mark.timeout(60 + CUTS / 5)
def test_a_disk_that_lies_about_syncs_is_found_out() -> None:
    outcome = run(CUTS, "--lies", "0.3")

    assert outcome["violations"] == []
    assert outcome["detected"] > 0
