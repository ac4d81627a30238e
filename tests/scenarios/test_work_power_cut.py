"""Power cuts under the file with the work. `TEKTON_POWER_CUTS` sets how many (150)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("work_power_cuts.py")
CUTS = int(os.environ.get("TEKTON_POWER_CUTS", "150"))


@pytest.mark.timeout(60 + CUTS / 5)
def test_no_power_cut_loses_or_tears_what_was_acknowledged_of_tasks_and_conversations() -> None:
    command = [sys.executable, str(PROGRAM), "--cuts", str(CUTS)]

    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50 + CUTS / 5)

    assert result.stdout, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["violations"] == []
    assert outcome["whole"] >= CUTS
    assert {"opening", "committing", "checkpointing"} <= set(outcome["while"])
