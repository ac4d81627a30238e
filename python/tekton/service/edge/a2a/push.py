"""Who wants to be told of a task at a URL of his own: what can be wanted, and how that is kept.

The URL is looked at when it is set, and again at each delivery: it may lead nowhere where a stranger's request must not
go (`service.callbacks`). Credentials are kept to be shown to the webhook, and never told again.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import UNSET

from tekton._native import uuid7
from tekton.a2a.push_store import PushConfig, PushStore
from tekton.a2a.task import Task
from tekton.service.edge.a2a.errors import A2aError, Kind, invalid
from tekton.service.edge.a2a.wire import Authentication, PushNotificationConfig, PushNotificationConfigs
from tekton.service.work import Work
from tekton.utils.guarded_http import RefusedUrlError
from tekton.utils.tekton_errors import TransportError

MOST: Final = 16
"""Configurations of one task."""
MOST_URL: Final = 2048
MOST_SECRET: Final = 4096
"""Characters of a token, or of credentials."""

CheckUrl = Callable[[str], Awaitable[object]]
"""Returns if requests may go to a URL. Raises RefusedUrlError, and another TransportError where nobody can say."""

_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_SCHEME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SECRET: Final = re.compile(r"[\x20-\x7e]*")


class Pushes:
    """The configurations in *work*. *changed* is told of each one that is there from now on."""

    def __init__(self, work: Work, check_url: CheckUrl, changed: Callable[[PushConfig], object]) -> None:
        self._work = work
        self._check_url = check_url
        self._changed = changed

    @property
    def _store(self) -> PushStore:
        return self._work.push

    async def check(self, wanted: PushNotificationConfig, at: str = "") -> None:
        """Return if *wanted*, which stands *at* that field, can be had. Raises A2aError."""
        if wanted.id and _ID.fullmatch(wanted.id) is None:
            raise invalid(f"{at}id", "expected 1 to 128 letters, digits, or one of . _ ~ -")
        if not 0 < len(wanted.url) <= MOST_URL:
            raise invalid(f"{at}url", f"expected a URL of at most {MOST_URL} characters")
        _check_secret(f"{at}token", wanted.token)
        if wanted.authentication is not UNSET:
            if _SCHEME.fullmatch(wanted.authentication.scheme) is None:
                raise invalid(f"{at}authentication.scheme", "expected the name of a scheme, as Bearer")
            _check_secret(f"{at}authentication.credentials", wanted.authentication.credentials)
        try:
            await self._check_url(wanted.url)
        except RefusedUrlError as error:
            raise invalid(f"{at}url", str(error)) from None
        except TransportError:
            return  # its name may have an address by the time it is called, when it is looked at again

    def check_room(self, task: Task, config_id: str) -> None:
        """Return if *task* can have a configuration of that id. Raises A2aError."""
        known = self._store.of_task(task.task_id)
        if len(known) >= MOST and all(one.config_id != config_id for one in known):
            raise A2aError(Kind.UNSUPPORTED_OPERATION, f"a task has at most {MOST} push configurations")

    async def create(self, task: Task, wanted: PushNotificationConfig) -> PushNotificationConfig:
        """Have *wanted*, which was checked, for *task*; durable on return. Raises A2aError, and the storage errors."""
        config_id = wanted.id or uuid7()
        self.check_room(task, config_id)
        await self._work.check()
        config = self.put(task, wanted, config_id)
        await self._work.flush()
        return _view(config)

    def put(self, task: Task, wanted: PushNotificationConfig, config_id: str) -> PushConfig:
        """Have *wanted* for *task*, under its id or else under *config_id*; durable with the next flush.

        It is told what happens from now on; one that is there already goes on where it is.
        """
        shown = Authentication() if wanted.authentication is UNSET else wanted.authentication
        before = self._store.get(task.task_id, wanted.id or config_id)
        config = PushConfig(
            task.task_id,
            wanted.id or config_id,
            wanted.url,
            wanted.token,
            shown.scheme,
            shown.credentials,
            task.owner,
            task.number if before is None else before.delivered,
        )
        self._store.put(config)
        self._changed(config)
        return config

    def keep(self, task: Task, wanted: PushNotificationConfig, config_id: str) -> None:
        """As `put`, for what was wanted before: what is there stays as it is. Raises A2aError."""
        if self._store.get(task.task_id, wanted.id or config_id) is None:
            self.check_room(task, wanted.id or config_id)
            self.put(task, wanted, config_id)

    def get(self, task: Task, config_id: str) -> PushNotificationConfig:
        """A configuration of *task*. Raises A2aError."""
        config = self._store.get(task.task_id, config_id)
        if config is None:
            raise A2aError(
                Kind.TASK_NOT_FOUND,
                "there is no such push configuration",
                metadata={"taskId": task.task_id, "id": config_id[:128]},
            )
        return _view(config)

    def list(self, task: Task) -> PushNotificationConfigs:
        """All configurations of *task*."""
        return PushNotificationConfigs(configs=[_view(config) for config in self._store.of_task(task.task_id)])

    async def delete(self, task: Task, config_id: str) -> None:
        """Forget a configuration of *task*, if there is one; durable on return."""
        await self._work.check()
        self._store.delete(task.task_id, config_id)
        await self._work.flush()


def _check_secret(field: str, text: str) -> None:
    if len(text) > MOST_SECRET or _SECRET.fullmatch(text) is None:
        raise invalid(field, f"expected at most {MOST_SECRET} characters that can stand in a header")


def _view(config: PushConfig) -> PushNotificationConfig:
    shown = Authentication(scheme=config.scheme) if config.scheme else UNSET
    return PushNotificationConfig(
        id=config.config_id, task_id=config.task_id, url=config.url, token=config.token, authentication=shown
    )
