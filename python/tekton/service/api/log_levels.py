"""How much the control plane itself logs, logger by logger, while it runs."""

from typing import Annotated, Literal

import msgspec

from tekton.core.attribution import current
from tekton.gateway.errors import InvalidInputError
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.log_levels import UnknownLoggerError
from tekton.service.system import System

_DAY = 86400


class LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Let `level` hold for `logger` and those below it, for `for` seconds; without it, until the control plane ends.

    A `level` of null takes the change back. `root` is the logger above all others.
    """

    logger: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    level: Literal["debug", "info", "warning", "error", "critical"] | None
    seconds: Annotated[float, msgspec.Meta(gt=0, le=30 * _DAY)] | None = msgspec.field(default=None, name="for")


class ChangedLevel(msgspec.Struct, frozen=True):
    """A level that was changed: `until` when (seconds since 1970; null: until the end), and what held `before`."""

    level: str
    until: float | None
    before: str | None


class LogLevelsAnswer(msgspec.Struct, frozen=True):
    """The level of each logger that has one of its own, and which of them were changed."""

    levels: dict[str, str]
    changed: dict[str, ChangedLevel]


def routes(system: System) -> list[Route]:
    """The routes of log levels."""

    async def show(_: Request) -> LogLevelsAnswer:
        return _answer(system)

    async def change(request: Request) -> LogLevelsAnswer:
        wanted: LogLevel = request.body
        try:
            if wanted.level is None:
                system.log_levels.restore(wanted.logger)
            else:
                system.log_levels.change(wanted.logger, wanted.level, wanted.seconds)
        except UnknownLoggerError as error:
            raise InvalidInputError("/logger", str(error), error.nearest) from error
        except ValueError as error:
            raise InvalidInputError("/logger", str(error)) from error
        by = current() or request.attribution()
        system.registry.audit.note(by, ("system.log_level", wanted.logger), "done", wanted.level or "restored", None)
        return _answer(system)

    return [
        Route(
            "GET",
            "/api/log-levels",
            show,
            summary="How much the control plane logs",
            permission="system:control",
            response=LogLevelsAnswer,
        ),
        Route(
            "PUT",
            "/api/log-levels",
            change,
            summary="Have a logger of the control plane log more or less, for a while",
            permission="system:control",
            body=LogLevel,
            response=LogLevelsAnswer,
            repeats="harmless",
            errors=(InvalidInputError,),
        ),
    ]


def _answer(system: System) -> LogLevelsAnswer:
    changed = system.log_levels.changed.items()
    return LogLevelsAnswer(
        system.log_levels.levels(),
        {name: ChangedLevel(one.level, one.until, one.before) for name, one in changed},
    )
