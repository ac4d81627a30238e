"""The control plane as a process: `python -m tekton.service.main`.

Exit codes: 0 after an orderly stop, 8 for a wrong configuration (or an address that is not ours), 70 when the guard was
lost, 73 when the data directory cannot be written, 74 when the store has stopped (a guard starts us again), 75 when the
data directory or the port is in use, 78 when the stored data cannot be used.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tekton import failpoints
from tekton.auth.key_file import KeyFile
from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK
from tekton.core.audit.failed_logins import FailedLogins
from tekton.core.audit.signatures import signer
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.gateway.admission import Admission
from tekton.gateway.app import Gateway
from tekton.gateway.bus.refused import RefusedRoutes
from tekton.gateway.server import GatewayServer, bind_port
from tekton.gateway.sockets import TopicSocket
from tekton.gateway.tls import Tls
from tekton.gateway.tracing import RequestSpans
from tekton.process_exit import leave
from tekton.service.adhoc import AdHoc, AdHocFile
from tekton.service.api import all_routes
from tekton.service.api.traces import QUIET
from tekton.service.auditing import SIGNALLED, Auditing
from tekton.service.card_keys import CardKeys
from tekton.service.exposure import exposure_warnings
from tekton.service.file_system import doubt
from tekton.service.last_config import LastConfig
from tekton.service.limits import limits_of
from tekton.service.lineup import LineUp
from tekton.service.messaging import Messaging
from tekton.service.readings.gateway import refusals, subscriptions
from tekton.service.reload import refuse_lost_components
from tekton.service.rundir import ControlFile, RunDirectory
from tekton.service.security import Security, open_security
from tekton.service.signing_keys import SigningKeys
from tekton.service.system import System
from tekton.service.tls import configured_tls
from tekton.service.topics import socket_topics
from tekton.service.work import Work
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.process_one import below_process_one
from tekton.supervisor.supervisor import ControlPlaneAddress
from tekton.supervisor.telemetry import TelemetryEnvironment
from tekton.utils.config_selection import Selection
from tekton.utils.mdns import announce
from tekton.utils.tekton_config import TektonConfig, armed_failpoints, guard_descriptor, telemetry_variables
from tekton.utils.tekton_errors import (
    AddressError,
    ConfigurationError,
    KeyFileError,
    PortInUseError,
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageLockedError,
    SupervisionError,
    TektonError,
)
from tekton.utils.tekton_logging import configure_logging, flush_logging

_logger = logging.getLogger("tekton.service")

EXIT_CONFIGURATION = 8
EXIT_GUARD_LOST = 70
EXIT_CANNOT_WRITE = 73
EXIT_STORAGE = 74
EXIT_IN_USE = 75
EXIT_DATA = 78

_SWITCH_INTERVAL = 0.0005
_COLLECTIONS = (10_000, 20, 50)
_LAST_ANSWERS = 0.04
_LAST_MOMENT = 0.06

_EXIT_CODES: tuple[tuple[type[TektonError], int], ...] = (
    (StorageLockedError, EXIT_IN_USE),
    (PortInUseError, EXIT_IN_USE),
    (AddressError, EXIT_CONFIGURATION),
    (ConfigurationError, EXIT_CONFIGURATION),
    (StorageCorruptError, EXIT_DATA),
    (KeyFileError, EXIT_DATA),
    (SchemaVersionError, EXIT_DATA),
    (StorageError, EXIT_CANNOT_WRITE),
    (SupervisionError, EXIT_GUARD_LOST),
    (TektonError, EXIT_STORAGE),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the control plane until it is stopped; the exit code."""
    options = _parse(arguments)
    overrides = {name: getattr(options, name) for name in ("host", "port", "data_dir", "profiles")}
    load = partial(TektonConfig.load, options.config, overrides, cwd=Path.cwd())
    selection = Selection(only=tuple(options.only), alone=options.no_deps)
    mistakes = None
    try:
        failpoints.arm(armed_failpoints())
        config = load()
        if (last := _last_config(options.data_dir)) is not None:
            refuse_lost_components(last, config)
    except ConfigurationError as error:
        last = _last_config(options.data_dir)
        if last is None:
            sys.stderr.write(f"{error}\n")
            return EXIT_CONFIGURATION
        config, mistakes = last, error
    configure_logging(config.log_level, json=config.log_format == "json", everything=True)
    if mistakes is not None:
        _logger.error("the configuration is wrong, the one that held before the crash holds on: %s", mistakes)
    # The store's writer thread must get its turn beside a busy event loop: at CPython's 5 ms every commit would wait
    # for it several times.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What a request makes is freed by counting. The collector finds next to nothing, and stops everybody meanwhile.
    gc.set_threshold(*_COLLECTIONS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(ControlPlane(config, load, selection, replaces=last is not None).run())
        except TektonError as error:
            _logger.critical("%s", error)
            return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        except OSError as error:
            _logger.critical("%s cannot be used: %s", error.filename or config.data_dir, error.strerror or error)
            return EXIT_CANNOT_WRITE


class ControlPlane:
    """One run of the control plane: the system, its port, and the signals that it heeds: SIGHUP reloads."""

    def __init__(
        self,
        config: TektonConfig,
        load: Callable[[], TektonConfig],
        selection: Selection = Selection(),  # noqa: B008
        *,
        replaces: bool = False,
    ) -> None:
        """*load* reads the configuration anew, *selection* says what of it starts by itself.

        *replaces*: one that has crashed, and whose components run on. Then a certificate may have expired.
        """
        self._config = config
        self._load = load
        self._selection = selection
        self._replaces = replaces
        self._exit_code = 0
        self._stopping = asyncio.Event()
        self._system: System | None = None
        self._server: GatewayServer | None = None
        self._leaving = BackgroundTask("fail-stop")
        self._announcing = BackgroundTask("announcement")
        self._renewing = BackgroundTask("certificate")

    async def run(self) -> int:
        """Serve until stopped; the exit code. Raises what prevents the start."""
        self._listen_for_signals()
        tls = await asyncio.to_thread(configured_tls, self._config, None if self._replaces else SYSTEM_CLOCK.time())
        for warning in exposure_warnings(self._config):
            _logger.warning("%s", warning)
        registry = await self._open_registry()
        if self._stopping.is_set():
            await registry.close()
            return self._exit_code
        if (why := doubt(self._config.data_dir)) is not None:
            _logger.warning("%s", why)
        gc.freeze()  # the code and the records that are here to stay
        guard = await self._reach_guard()
        run_directory = RunDirectory(self._config.data_dir)
        failed_logins = FailedLogins(registry.audit)
        security = await open_security(
            self._config, registry, run_directory.prepare(), guard.run_id, report=failed_logins.note
        )
        signing_keys = SigningKeys(
            security.ring,
            None if self._config.jwt_secret is not None else KeyFile(self._config.data_dir),
            registry.audit,
            life=self._config.key_life,
            clock=SYSTEM_CLOCK,
            changed=security.keys_changed,
        )
        card_keys = await CardKeys.open(self._config.data_dir, registry.audit, SYSTEM_CLOCK)
        messaging = await Messaging.open(self._config, precedence=registry.precedence)
        work = await Work.open(self._config.data_dir)
        sign = signer(security.ring, SYSTEM_CLOCK)
        auditing = Auditing(registry.audit, failed_logins, self._config, sign, SYSTEM_CLOCK)
        lineup = LineUp(self._config, self._selection, AdHoc(AdHocFile(run_directory.adhoc_file, guard.run_id)))
        system = System(
            lineup,
            registry,
            guard,
            security,
            auditing,
            messaging=messaging,
            work=work,
            signing_keys=signing_keys,
            card_keys=card_keys,
            load=partial(self._load_anew, asyncio.get_running_loop()),
            on_stop=self._stopping.set,
            on_storage_failure=self._storage_failed,
        )
        # Before anybody can ask for another one.
        await asyncio.to_thread(system.last_config.keep, self._config)
        self._system = system
        self._server = server = self._make_server(system, run_directory, self._port(run_directory, guard), tls)
        await system.start()
        await server.start()
        system.tools.keep_from(server.port)
        system.component_agents.keep_from(server.port)
        system.a2a.keep_from(server.port)
        run_directory.announce(self._control_file(run_directory, server.port, system.started_at))
        guard.announce_serving()
        _logger.info("serving %s with data in %s", self._url(server.port), self._config.data_dir)
        if self._config.mdns:
            self._announcing.start(announce(self._config.host, server.port))
        await system.start_components(self._address(run_directory, security, server.port))
        await self._stopping.wait()
        await self._stop(system, server, run_directory, guard)
        return self._exit_code

    async def _open_registry(self) -> ComponentRegistry:
        """Read the database, beside the event loop: a signal is heard meanwhile, and a second one ends us at once."""
        # The lock on the data directory comes first: whoever has it may touch what lies there.
        config = self._config
        store = SqliteStore(config.data_dir, history_limit=config.history_limit, audit_limit=config.audit_limit)
        return await asyncio.to_thread(ComponentRegistry, store=store)

    async def _stop(
        self, system: System, server: GatewayServer, run_directory: RunDirectory, guard: GuardClient
    ) -> None:
        _logger.info("stopping")
        await self._announcing.stop()
        await self._renewing.stop()
        if not self._exit_code:
            await system.stop_components()
        await server.stop()
        run_directory.withdraw()
        await system.stop()
        await guard.close()

    async def _reach_guard(self) -> GuardClient:
        descriptor = guard_descriptor()
        if descriptor is None:
            return await GuardClient.launch(self._config.data_dir, on_lost=self._guard_lost)
        return await GuardClient.connect(descriptor, on_lost=self._guard_lost)

    def _port(self, run_directory: RunDirectory, guard: GuardClient) -> int:
        """The port to listen on. Where any will do, who replaces a crashed control plane stays where that was known."""
        last = run_directory.last_port() if self._config.port == 0 and guard.incarnation > 1 else 0
        if not last:
            return self._config.port
        try:
            for probe in bind_port([self._config.host], last):
                probe.close()
        except SupervisionError:
            return 0
        return last

    def _load_anew(self, loop: asyncio.AbstractEventLoop) -> TektonConfig:
        """Read the configuration again, and the certificate. Runs in a thread."""
        config = self._load()
        loop.call_soon_threadsafe(self._renew_certificate)
        return config

    def _renew_certificate(self) -> None:
        if self._config.tls_cert is not None and not self._renewing.running:
            self._renewing.start(self._show_new_certificate())

    async def _show_new_certificate(self) -> None:
        try:
            tls = await asyncio.to_thread(configured_tls, self._config, SYSTEM_CLOCK.time())
            if self._server is not None and tls is not None:
                await self._server.renew(tls)
                _logger.info("new connections are shown the certificate of %s", tls.subject)
        except TektonError as error:
            _logger.error("the certificate was not read anew, the old one goes on to be shown: %s", error)

    def _make_server(self, system: System, run_directory: RunDirectory, port: int, tls: Tls | None) -> GatewayServer:
        topics = socket_topics(system)
        socket = TopicSocket(topics, system.monitor.beat, system.bus_port)
        admission = Admission(limits_of(self._config))
        gateway = Gateway(
            [*all_routes(system), *system.a2a.routes()],
            allowed_hosts=[self._config.host, *self._config.allowed_hosts],
            allowed_origins=self._config.allowed_origins,
            trusted_proxies=self._config.trusted_proxies,
            policy=system.security.policy,
            admission=admission,
            keys=system.registry.idempotency_keys,
            websocket=socket,
            dialects=[system.a2a],
            max_streams=self._config.max_streams,
            observers=[
                RequestSpans(system.tracing.tracer, quiet=QUIET, reads=False),
                RefusedRoutes(system.bus_port.access),
                *system.metering.observers,
            ],
        )
        system.metering.read_streams(gateway.streams, self._config.max_streams)
        system.metering.read(partial(refusals, admission), partial(subscriptions, socket, topics.names))
        system.security.on_loss(gateway.review)
        return GatewayServer(
            gateway,
            self._config.host,
            port,
            uds=run_directory.socket,
            tls=tls,
            ops_port=self._config.ops_port,
            metrics_port=self._config.metrics_port if self._config.enable_metrics else None,
            streams=self._config.max_streams,
        )

    def _url(self, port: int) -> str:
        host = "127.0.0.1" if self._config.host in ("0.0.0.0", "::") else self._config.host
        scheme = "http" if self._config.tls_cert is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def _control_file(self, run_directory: RunDirectory, port: int, started_at: float) -> ControlFile:
        return ControlFile(os.getpid(), self._url(port), str(run_directory.socket), started_at)

    def _address(self, run_directory: RunDirectory, security: Security, port: int) -> ControlPlaneAddress:
        url = self._url(port)
        telemetry = TelemetryEnvironment(url, self._config.trace_ratio, telemetry_variables())
        return ControlPlaneAddress(url, run_directory.socket, security.components, telemetry)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, partial(self._on_signal, signum))
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_signal(self, signum: int) -> None:
        if self._stopping.is_set():
            # The second one: the guard kills what is left.
            flush_logging(_LAST_MOMENT)
            os._exit(128 + signum)
        if self._system is not None:
            self._system.auditing.signalled_to_stop(signal.Signals(signum).name)
            self._system.request_stop()
        self._stopping.set()

    def _on_hangup(self) -> None:
        """The configuration is to be read anew. Before there is a system, it just has been."""
        if self._system is not None and not self._stopping.is_set():
            self._system.changes.request_reload(SIGNALLED)

    def _storage_failed(self) -> None:
        """End at once: from now on memory and disk may say different things, and only the disk counts."""
        # Not _leave: whoever blocks the event loop may hold a lock of the log.
        last_moment = threading.Timer(_LAST_MOMENT, os._exit, (EXIT_STORAGE,))
        last_moment.daemon = True
        last_moment.start()
        self._leaving.start(self._answer_and_leave())

    async def _answer_and_leave(self) -> None:
        try:
            async with asyncio.timeout(_LAST_ANSWERS):
                if self._server is not None:
                    await self._server.stop(_LAST_ANSWERS)
        finally:
            _leave()

    def _guard_lost(self) -> None:
        _logger.critical("the guard is gone, and with it every component")
        self._exit_code = EXIT_GUARD_LOST
        self._stopping.set()


def _last_config(data_dir: Path | None) -> TektonConfig | None:
    """What held when a control plane of this run of the guard crashed; None for the first one."""
    return None if data_dir is None or guard_descriptor() is None else LastConfig(data_dir / "run").find()


def _leave() -> None:
    logging.shutdown()
    os._exit(EXIT_STORAGE)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tekton.service.main", allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="a configuration file, or its folder")
    parser.add_argument("--data-dir", type=Path, help="where the state is kept")
    parser.add_argument("--host", help="the address to listen on")
    parser.add_argument("--port", type=int, help="the port to listen on")
    parser.add_argument("--profile", dest="profiles", action="append", help="a profile that is active (repeatable)")
    parser.add_argument("--only", action="append", default=[], help="start this one, not all (repeatable)")
    parser.add_argument("--no-deps", action="store_true", help="with --only: not what they depend on")
    return parser.parse_args(arguments)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _main() -> int:
    try:
        return main()
    finally:
        flush_logging()


if __name__ == "__main__":
    leave(below_process_one(_main))
