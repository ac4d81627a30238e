"""What those who issue tokens and those who verify them agree upon. Free of the libraries that do either."""

from typing import Final

ISSUER: Final = "tekton"
AUDIENCE: Final = "tekton"
"""Whom a token is for unless it says otherwise: the control plane."""
MAX_LIFE: Final = 86_400
"""Seconds that a token may live at most."""
LEEWAY: Final = 30
"""Seconds that the clocks of those who issue and those who verify may differ."""
