"""Hours of a system in which everything goes wrong, in virtual time; see `tekton.testing.simulation`.

`TEKTON_SIMULATED_HOURS` sets how many hours in all (default 8; more at night), `TEKTON_SIMULATION_SEED` the first seed.
A failing seed is printed; `simulate(seed, hours)` repeats it.
"""

import os

import pytest

from tekton.testing.simulation import Report, simulate

HOURS = float(os.environ.get("TEKTON_SIMULATED_HOURS", "8"))
SEED = int(os.environ.get("TEKTON_SIMULATION_SEED", "0"))
AT_ONCE = 2.0


@pytest.mark.timeout(60 + 10 * HOURS)
def test_whatever_goes_wrong_the_core_keeps_its_promises() -> None:
    reports: list[Report] = []
    while (left := HOURS - sum(report.hours for report in reports)) > 0:
        report = simulate(SEED + len(reports), min(left, AT_ONCE))
        assert not report.violations, str(report)
        reports.append(report)

    happened = {what for report in reports for what in report.counts}
    assert {"deaths found", "restarts", "killed", "pause", "full disk", "acknowledged"} <= happened
