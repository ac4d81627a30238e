"""Power cuts under the store of the streams. `TEKTON_POWER_CUTS` sets how many (150)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("stream_power_cuts.py")
CUTS = int(os.environ.get("TEKTON_POWER_CUTS", "150"))


@pytest.mark.timeout(60 + CUTS / 5)
def test_no_power_cut_loses_or_tears_an_acknowledged_message() -> None:
    command = [sys.executable, str(PROGRAM), "--cuts", str(CUTS)]

    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50 + CUTS / 5)

    assert result.stdout, result.stderr
    outcome = json.loads(result.stdout)
    assert outcome["violations"] == []
    assert outcome["whole"] >= CUTS
    assert {"opening", "committing", "tidying"} <= set(outcome["while"])
