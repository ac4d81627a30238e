"""The benches report in one way, and the page of figures has all of them. What they measure is not tested here."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
PAGE = ROOT / "docs" / "performance.md"

FAKE = """
import sys
from _measure import gate, parser, section, verdict

parser(__doc__).parse_args()
section("falling")
gate("a stone", 12.5, 10, against="a feather", spread=(11, 14), detail="1 s / 80 ms")
gate("a parachute", 31, 30, unit="s", better="lower")
gate("a cat", 7, unit="lives")
sys.exit(verdict())
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    shared = ("run", "_measure", "_page", "kernel")
    monkeypatch.syspath_prepend(str(BENCHES))
    monkeypatch.setenv("PYTHONPATH", str(BENCHES))
    yield importlib.import_module("run")
    for name in shared:
        sys.modules.pop(name, None)


def bench(directory: Path, text: str) -> Path:
    script = directory / "fake.py"
    script.write_text(text)
    return script


def test_the_rows_of_a_bench_are_collated_with_their_verdicts(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, FAKE))

    assert result.status == "missed"
    assert [(row.section, row.what, row.holds) for row in result.rows] == [
        ("falling", "a stone", True),
        ("falling", "a parachute", False),
        ("falling", "a cat", True),
    ]
    assert "2 gates, 1 missed" in run.table([result])
    assert "a cat" not in run.table([result])


def test_a_bench_that_crashes_keeps_its_rows_and_says_why(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, FAKE.replace("sys.exit(verdict())", "raise RuntimeError('no parachute')")))

    assert (result.status, len(result.rows), result.note) == ("crashed", 3, "RuntimeError: no parachute")
    assert "crashed: fake" in run.table([result])


def test_a_bench_that_lacks_something_is_skipped_with_the_reason(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, "import sys\nfrom _measure import skip\nsys.exit(skip('no feathers'))"))

    assert (result.status, result.rows, result.note) == ("skipped", [], "skipped: no feathers")


def test_a_bench_that_hangs_is_ended(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, "import signal\nsignal.pause()"), patience=0.2)

    assert result.status == "crashed"


def test_a_kept_result_is_the_one_that_was_seen(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, FAKE))

    run.keep(result, tmp_path / "results")

    assert run.kept(tmp_path / "results") == [result]


def test_only_the_blocks_of_what_ran_are_renewed(run: ModuleType, tmp_path: Path) -> None:
    page = "# Figures\n<!-- bench fake -->\nold\n<!-- end -->\nProse.\n<!-- bench other -->\nkept\n<!-- end -->\n"
    result = run.run(bench(tmp_path, FAKE))

    renewed = run.update(page, [result], ["fake", "other"])

    assert "old" not in renewed
    assert "| a parachute | 31 s |  | ≤ 30 s, **missed** |  |" in renewed
    assert "Prose.\n<!-- bench other -->\nkept\n<!-- end -->\n" in renewed


def test_the_summary_lists_what_was_missed_when_every_bench_has_a_result(run: ModuleType, tmp_path: Path) -> None:
    result = run.run(bench(tmp_path, FAKE))

    renewed = run.update("<!-- bench summary -->\nold\n<!-- end -->\n", [result], ["fake"])

    assert "2 gates, 1 held, **1 missed**" in renewed
    assert "| Falling | a parachute | 31 s | ≤ 30 s | `fake` |" in renewed
    assert "<!-- bench fake -->" in renewed


def test_the_page_of_figures_has_every_bench(run: ModuleType) -> None:
    names = [script.stem for script in run.scripts(BENCHES)]

    page = importlib.import_module("_page")
    assert set(page.names(PAGE.read_text())) == {*names, "summary"}


def test_every_bench_is_described_beside_them(run: ModuleType) -> None:
    described = (BENCHES / "README.md").read_text()

    assert [script.name for script in run.scripts(BENCHES) if f"`{script.name}`" not in described] == []


def test_what_criterion_found_becomes_ratios_with_their_gates(
    run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    group = "heartbeat with its share of ticks"
    for name, size, nanoseconds in (
        ("tekton Leases", 100_000, 10.0),
        ("tokio Sleep::reset", 100_000, 190.0),
        ("tekton Leases", 1_000, 5.0),
        ("tokio Sleep::reset", 1_000, 40.0),
    ):
        directory = tmp_path / name / str(size) / "new"
        directory.mkdir(parents=True)
        interval = {"lower_bound": nanoseconds * 0.9, "upper_bound": nanoseconds * 1.1, "confidence_level": 0.95}
        median = {"point_estimate": nanoseconds, "standard_error": 0.1, "confidence_interval": interval}
        (directory / "estimates.json").write_text(json.dumps({"median": median}))
        benchmark = {"group_id": group, "function_id": name, "value_str": str(size)}
        (directory / "benchmark.json").write_text(json.dumps(benchmark))

    kernel = importlib.import_module("kernel")
    kernel.report(list(kernel.read(tmp_path)))

    small, large = [" ".join(text.split()) for text in capsys.readouterr().out.splitlines() if "Sleep" in text]
    assert small == "tekton Leases / tokio Sleep::reset 8x (6.55 to 9.78) 40 ns / 5 ns"
    assert large == "tekton Leases / tokio Sleep::reset 19x (15.5 to 23.2) gate ≥ 20x MISSED 190 ns / 10 ns"
