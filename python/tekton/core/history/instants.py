"""Moments as people write them."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_SECONDS: Final = re.compile(r"\d{6,12}(\.\d{1,9})?")
_AGO: Final = re.compile(r"-(?=\d)((\d{1,6})d)?((\d{1,6})h)?((\d{1,6})m)?((\d{1,9})s)?")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?")

FORMS: Final = "'10:31', '2026-11-26T10:31:00Z', seconds since 1970, or how long ago, as in '-2h'"


def parse_instant(text: str, now: float) -> float:
    """The moment that *text* means, in wall-clock seconds: one of FORMS.

    A time of the day is the last one up to *now*; that, and dates without a zone, are in the zone of this machine.
    Raises ValueError.
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if (ago := _AGO.fullmatch(text)) is not None:
        days, hours, minutes, seconds = (int(ago[group] or 0) for group in (2, 4, 6, 8))
        return now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
    try:
        if _CLOCK.fullmatch(text):
            return _last(time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text.rjust(8, "0")), now)
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is no time; write {FORMS}") from error


def _last(of_day: time, now: float) -> float:
    """When it was last so late."""
    today = datetime.fromtimestamp(now, UTC).astimezone().date()
    return next(at for days in range(3) if (at := _on(today - timedelta(days=days), of_day)) <= now)


def _on(day: date, of_day: time) -> float:
    return datetime.combine(day, of_day).timestamp()
