"""The limits of one caller, from the configuration."""

import json
from pathlib import Path
from typing import Any

import pytest

from tekton.gateway.admission import Limits
from tekton.service.limits import limits_of
from tekton.utils.tekton_config import TektonConfig


def configured(directory: Path, **security: Any) -> Limits:
    (directory / "tekton.json").write_text(json.dumps({"tekton": {"security": security}}))
    return limits_of(TektonConfig.load(directory / "tekton.json", environ={"HOME": str(directory)}))


def test_the_defaults_of_the_configuration_are_those_of_the_gateway(tmp_path: Path) -> None:
    assert configured(tmp_path) == Limits()


@pytest.mark.parametrize(("given", "rate"), [(2.5, 2.5), (0, None)])
def test_each_setting_is_heeded(tmp_path: Path, given: float, rate: float | None) -> None:
    limits = configured(
        tmp_path, rate_limit=given, rate_limit_burst=7, max_requests_per_caller=8, max_streams_per_caller=9
    )

    assert limits == Limits(rate=rate, burst=7, requests=8, streams=9)
