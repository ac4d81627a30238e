"""The limits of one caller, as they are configured."""

from tekton.gateway.admission import Limits
from tekton.utils.tekton_config import TektonConfig


def limits_of(config: TektonConfig) -> Limits:
    """What *config* lets one caller have."""
    return Limits(
        rate=config.rate_limit or None,
        burst=config.rate_limit_burst,
        requests=config.max_requests_per_caller,
        streams=config.max_streams_per_caller,
    )
