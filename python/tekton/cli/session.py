"""One run of `tekton up`: the guard as a child, the start followed to its end, and the orderly stop.

Whatever happens to us short of being killed, a system that was started in the foreground is stopped again.
"""

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tekton.cli.client import Client, UnixConnection, component_path
from tekton.cli.instance import Instance
from tekton.cli.launch import GuardProcess
from tekton.cli.problems import DONE, FAILED, INTERRUPTED, NotInTimeError, report, say_problem
from tekton.cli.progress import Expected, Progress, Row
from tekton.cli.render import clean, harmless, plural, say
from tekton.cli.show import choose, critical_path, summary
from tekton.cli.watch import News, may_pass, news
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import TektonError

if TYPE_CHECKING:
    from tekton.utils.tekton_config import TektonConfig

CONTROL_TIMEOUT = 30.0
"""Seconds within which the control plane must answer for the first time."""

_TELL_AFTER = 3.0
_LOOK_EVERY = 0.02
_IN_USE = 75


class Session:
    """A system that is coming up, runs, and goes down."""

    def __init__(
        self,
        instance: Instance,
        config: "TektonConfig",
        arguments: Sequence[str],
        *,
        detach: bool,
        quiet: bool,
        plain: bool = False,
        named: str = "",
    ) -> None:
        """Start the guard; *arguments* are those of the control plane. *plain*: lines even on a terminal.

        *named* are the options with which other verbs mean this system.
        """
        self._instance = instance
        self._detach = detach
        self._quiet = quiet
        self._named = named
        self._began = SYSTEM_CLOCK.monotonic()
        self._progress = Progress(_expected(config), SYSTEM_CLOCK.time())
        self._settled = False
        self._position: int | None = None
        self._away = self._delay_told = False
        self._asked = 0
        socket = str(instance.socket)
        self._client = Client(lambda timeout: UnixConnection(socket, timeout), socket)
        self._guard = GuardProcess(instance, arguments)
        self._show = choose(self._progress, self._client, quiet=quiet, plain=plain)

    def request_stop(self) -> None:
        """Stop in order; when asked once more, kill. May be called from another thread."""
        self._asked += 1
        self._guard.stop()
        self._show.announce("stopping (once more kills)" if self._asked == 1 else "killing what is left")

    def run(self, timeout: float | None = None) -> int:
        """Stay until the system has ended, or detached until its start has settled; the exit status.

        Raises NotInTimeError when a detached start takes longer than *timeout* seconds; it goes on by itself.
        """
        try:
            exit_code = self._follow(None if timeout is None else self._began + timeout)
        finally:
            if not self._detach or self._position is None:
                self._abandon()
            self._show.finish()
        if exit_code is not None:
            return self._ended(exit_code)
        return FAILED if self._progress.failed or self._progress.blocked else DONE

    def _follow(self, deadline: float | None) -> int | None:
        """Tell what happens until the guard ends (its exit code), or a detached start has settled (None)."""
        while (exit_code := self._guard.wait(_LOOK_EVERY)) is None:
            if self._position is None and self._instance.guard_pid != self._guard.pid:
                # Of two that start at once, one must not take the control plane of the other for its own.
                self._check_patience(deadline)
                continue
            try:
                for piece in news(self._client, since=self._position, deadline=deadline):
                    self._take(piece)
                    if self._detach and self._settled and not self._asked:
                        return None
            except NotInTimeError as error:
                raise self._not_settled(deadline) from error
            except TektonError as error:
                if not may_pass(error):
                    raise
                self._check_patience(deadline)
        return exit_code

    def _take(self, piece: News) -> None:
        self._position = piece.revision if piece.revision is not None else self._position
        self._away = False
        self._progress.apply(piece)
        self._show.update(piece)
        if not self._settled and not self._asked and self._progress.settled:
            self._settled = True
            self._show.finish()
            self._tell_outcome()

    def _check_patience(self, deadline: float | None) -> None:
        """The control plane did not answer: say so, once, or give up."""
        if self._asked:
            return
        now = SYSTEM_CLOCK.monotonic()
        if deadline is not None and now >= deadline:
            raise self._not_settled(deadline)
        if self._position is None:
            self._check_first_answer(now - self._began)
        elif not self._away:
            self._away = True
            say("the control plane does not answer; its guard starts it again")

    def _not_settled(self, deadline: float | None) -> NotInTimeError:
        names = [row.name for row in self._progress.pending] if self._position is not None else []
        what = f"{', '.join(names)} to be ready" if names else "the control plane"
        timeout = CONTROL_TIMEOUT if deadline is None else deadline - self._began
        error = NotInTimeError(str(self._instance.socket), round(timeout, 3), what)
        if names:
            error.hint = f"tekton why {names[0]}"
        return error

    def _check_first_answer(self, waited: float) -> None:
        if waited >= _TELL_AFTER and not self._delay_told:
            self._delay_told = True
            say(f"the control plane does not answer yet; its log is {self._instance.log}")
            for text in self._guard.evidence():
                say(f"  {harmless(text)}")
        if waited >= CONTROL_TIMEOUT:
            raise self._not_settled(None)

    # What is told when the start has settled

    def _tell_outcome(self) -> None:
        for row in self._progress.failed:
            self._tell_failure(row)
        for row in self._progress.blocked:
            needs = ", ".join(self._progress.waits_for(row))
            # The control plane can tell a cycle, or a name that nobody has, from a dependency that failed.
            reason = self._why(row.name).get("reason") or f"{row.name} was not started: it needs {needs}"
            if not reason.startswith(row.name):  # it is of an earlier run
                reason = f"{row.name} was not started: it needs {needs}"
            say_problem("dependency_failed", clean(reason))
        if not self._quiet:
            self._tell_summary()

    def _tell_failure(self, row: Row) -> None:
        why = self._why(row.name)
        evidence = [clean(text) for text in why.get("evidence", ())]
        evidence += [f"affected: {affected}" for affected in self._affected(why)]
        reason = clean(row.reason or "no reason given")
        advice = f"tekton why {row.name}, tekton logs {row.name}, then tekton restart {row.name}"
        say_problem("component_failed", f"{row.name}: {reason}", evidence, advice)

    def _affected(self, why: dict[str, Any]) -> list[str]:
        """What the failure keeps from coming, and what goes on without it."""
        stuck = {row.name for row in self._progress.blocked}
        names = [one["component_id"] for one in why.get("affected", ()) if one["component_id"] in stuck]
        if not names:
            return []
        verb = "is" if len(names) == 1 else "are"
        ready = len(self._progress.ready)
        others = f"; {plural(ready, 'other')} {'is' if ready == 1 else 'are'} ready" if ready else ""
        return [f"{', '.join(names)} {verb} not started{others}"]

    def _why(self, name: str) -> dict[str, Any]:
        try:
            why: dict[str, Any] = self._client.get(component_path(name, "why"))
        except TektonError:
            return {}
        return why

    def _tell_summary(self) -> None:
        url = self._instance.url
        took = summary(self._progress, SYSTEM_CLOCK.monotonic() - self._began)
        say(f"  {'   '.join(filter(None, (took, critical_path(self._client))))}")
        say()
        say(f"  API   {f'{url}  ' if url else ''}socket {self._instance.socket}")
        say(f"  Logs  {self._instance.log_dir}")
        known = "tekton ps, tekton logs -f, tekton events -f, tekton why NAME"
        say(f"  Try   {known if self._progress.rows else 'tekton init demo, which writes a small system'}")
        say()
        say(f"  tekton down{self._named} stops everything" if self._detach else "  Ctrl-C stops everything")

    # The end

    def _abandon(self) -> None:
        """End what nobody follows any more; does nothing when it has ended."""
        self._guard.stop()
        self._guard.wait()

    def _ended(self, exit_code: int) -> int:
        """The guard has ended: tell how, and return our exit status."""
        if self._asked > 1:
            return INTERRUPTED
        if exit_code == _IN_USE:
            # By another `tekton up` that was quicker? Else it is the port.
            self._instance.refuse_if_owned()
        # A guard that was asked before it could listen was ended by the signal, and has started nothing.
        if exit_code and not (self._asked and exit_code == -signal.SIGTERM):
            return report(self._guard.failure(exit_code))
        say("stopped")
        return DONE


def _expected(config: "TektonConfig") -> list[Expected]:
    return [
        Expected(name, tuple(need.component for need in spec.dependencies), spec.port)
        for name, spec in config.components.items()
    ]
