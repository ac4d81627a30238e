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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tekton import failpoints
from tekton.background import BackgroundTask
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.gateway.app import Gateway
from tekton.gateway.auth import LocalPolicy
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import ComponentSocket
from tekton.service.api import all_routes
from tekton.service.api.events import change_source
from tekton.service.file_system import doubt
from tekton.service.rundir import ControlFile, RunDirectory
from tekton.service.system import System
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress
from tekton.utils.tekton_config import TektonConfig, armed_failpoints, guard_descriptor
from tekton.utils.tekton_errors import (
    AddressError,
    ConfigurationError,
    PortInUseError,
    SchemaVersionError,
    StorageCorruptError,
    StorageError,
    StorageLockedError,
    SupervisionError,
    TektonError,
)
from tekton.utils.tekton_logging import configure_logging

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
    (StorageCorruptError, EXIT_DATA),
    (SchemaVersionError, EXIT_DATA),
    (StorageError, EXIT_CANNOT_WRITE),
    (SupervisionError, EXIT_GUARD_LOST),
    (TektonError, EXIT_STORAGE),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the control plane until it is stopped; the exit code."""
    options = _parse(arguments)
    overrides = {name: getattr(options, name) for name in ("host", "port", "data_dir")}
    try:
        config = TektonConfig.load(options.config, overrides)
        failpoints.arm(armed_failpoints())
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    configure_logging(config.log_level, json=config.log_format == "json")
    # The store's writer thread must get its turn beside a busy event loop: at CPython's 5 ms every commit would wait
    # for it several times.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What a request makes is freed by counting. The collector finds next to nothing, and stops everybody meanwhile.
    gc.set_threshold(*_COLLECTIONS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(ControlPlane(config).run())
        except TektonError as error:
            _logger.critical("%s", error)
            return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        except OSError as error:
            _logger.critical("%s cannot be used: %s", error.filename or config.data_dir, error.strerror or error)
            return EXIT_CANNOT_WRITE


class ControlPlane:
    """One run of the control plane: the system, its port, and the signals that end it."""

    def __init__(self, config: TektonConfig) -> None:
        self._config = config
        self._exit_code = 0
        self._stopping = asyncio.Event()
        self._system: System | None = None
        self._server: GatewayServer | None = None
        self._leaving = BackgroundTask("fail-stop")

    async def run(self) -> int:
        """Serve until stopped; the exit code. Raises what prevents the start."""
        self._listen_for_signals()
        # The lock on the data directory comes first: whoever has it may touch what lies there.
        store = SqliteStore(self._config.data_dir, history_limit=self._config.history_limit)
        registry = ComponentRegistry(store=store)
        if (why := doubt(self._config.data_dir)) is not None:
            _logger.warning("%s", why)
        gc.freeze()  # the code and the records that are here to stay
        guard = await self._reach_guard()
        self._system = system = System(
            self._config, registry, guard, on_stop=self._stopping.set, on_storage_failure=self._storage_failed
        )
        run_directory = RunDirectory(self._config.data_dir)
        self._server = server = self._make_server(system, run_directory)
        await system.start()
        await server.start()
        run_directory.announce(self._control_file(run_directory, server.port, system.started_at))
        guard.announce_serving()
        _logger.info("serving %s with data in %s", self._url(server.port), self._config.data_dir)
        await system.start_components(self._address(run_directory, server.port))
        await self._stopping.wait()
        await self._stop(system, server, run_directory, guard)
        return self._exit_code

    async def _stop(
        self, system: System, server: GatewayServer, run_directory: RunDirectory, guard: GuardClient
    ) -> None:
        _logger.info("stopping")
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

    def _make_server(self, system: System, run_directory: RunDirectory) -> GatewayServer:
        gateway = Gateway(
            all_routes(system),
            allowed_hosts=[self._config.host, *self._config.allowed_hosts],
            allowed_origins=self._config.allowed_origins,
            policy=LocalPolicy(run_directory.prepare(), anonymous=self._config.enable_auth is not True),
            websocket=ComponentSocket(change_source(system), system.monitor.beat),
        )
        return GatewayServer(gateway, self._config.host, self._config.port, uds=run_directory.socket)

    def _url(self, port: int) -> str:
        host = "127.0.0.1" if self._config.host in ("0.0.0.0", "::") else self._config.host
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _control_file(self, run_directory: RunDirectory, port: int, started_at: float) -> ControlFile:
        return ControlFile(os.getpid(), self._url(port), str(run_directory.socket), started_at)

    def _address(self, run_directory: RunDirectory, port: int) -> ControlPlaneAddress:
        return ControlPlaneAddress(self._url(port), run_directory.socket, run_directory.credential_file)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, partial(self._on_signal, signum))

    def _on_signal(self, signum: int) -> None:
        if self._stopping.is_set():
            # The second one: the guard kills what is left.
            os._exit(128 + signum)
        if self._system is not None:
            self._system.request_stop()
        self._stopping.set()

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


def _leave() -> None:
    logging.shutdown()
    os._exit(EXIT_STORAGE)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tekton.service.main", allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="a configuration file, or its folder")
    parser.add_argument("--data-dir", type=Path, help="where the state is kept")
    parser.add_argument("--host", help="the address to listen on")
    parser.add_argument("--port", type=int, help="the port to listen on")
    return parser.parse_args(arguments)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    sys.exit(main())
