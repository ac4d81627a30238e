"""The control plane as a process: `python -m tekton.service.main`.

Exit codes: 0 after an orderly stop, 8 for a wrong configuration, 70 when the guard was lost, 74 when the store has
stopped (a guard starts us again), 75 when the data directory or the port is in use, 78 when the stored data cannot
be used.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.app import Gateway
from tekton.gateway.auth import LocalPolicy
from tekton.gateway.server import GatewayServer
from tekton.gateway.sockets import ComponentSocket
from tekton.service.api import all_routes
from tekton.service.api.events import change_source
from tekton.service.rundir import ControlFile, RunDirectory
from tekton.service.system import System
from tekton.supervisor.guard_client import GuardClient
from tekton.supervisor.supervisor import ControlPlaneAddress
from tekton.utils.tekton_config import TektonConfig, guard_descriptor
from tekton.utils.tekton_errors import (
    ConfigurationError,
    PortInUseError,
    SchemaVersionError,
    StorageCorruptError,
    StorageLockedError,
    SupervisionError,
    TektonError,
)
from tekton.utils.tekton_logging import configure_logging

_logger = logging.getLogger("tekton.service")

EXIT_CONFIGURATION = 8
EXIT_GUARD_LOST = 70
EXIT_STORAGE = 74
EXIT_IN_USE = 75
EXIT_DATA = 78

_SWITCH_INTERVAL = 0.0005

_EXIT_CODES: tuple[tuple[type[TektonError], int], ...] = (
    (StorageLockedError, EXIT_IN_USE),
    (PortInUseError, EXIT_IN_USE),
    (StorageCorruptError, EXIT_DATA),
    (SchemaVersionError, EXIT_DATA),
    (SupervisionError, EXIT_GUARD_LOST),
    (TektonError, EXIT_STORAGE),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the control plane until it is stopped; the exit code."""
    options = _parse(arguments)
    overrides = {name: getattr(options, name) for name in ("host", "port", "data_dir")}
    try:
        config = TektonConfig.load(options.config, overrides)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    configure_logging(config.log_level, json=config.log_format == "json")
    # The store's writer thread must get its turn beside a busy event loop: at CPython's 5 ms every commit would wait
    # for it several times.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(ControlPlane(config).run())
        except TektonError as error:
            _logger.critical("%s", error)
            return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


class ControlPlane:
    """One run of the control plane: the system, its port, and the signals that end it."""

    def __init__(self, config: TektonConfig) -> None:
        self._config = config
        self._exit_code = 0
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Serve until stopped; the exit code. Raises what prevents the start."""
        self._listen_for_signals()
        # The lock on the data directory comes first: whoever has it may touch what lies there.
        registry = ComponentRegistry(self._config.data_dir)
        guard = await self._reach_guard()
        system = System(self._config, registry, guard, on_stop=self._stopping.set)
        run_directory = RunDirectory(self._config.data_dir)
        server = self._server(system, run_directory)
        await system.start()
        await server.start()
        run_directory.announce(self._control_file(run_directory, server.port, system.started_at))
        guard.announce_serving()
        _logger.info("serving %s with data in %s", self._url(server.port), self._config.data_dir)
        await system.start_components(self._address(run_directory, server.port))
        await self._stopping.wait()
        await self._stop(system, server, run_directory, guard)
        return self._exit_code or (EXIT_STORAGE if system.storage_failure else 0)

    async def _stop(
        self, system: System, server: GatewayServer, run_directory: RunDirectory, guard: GuardClient
    ) -> None:
        _logger.info("stopping")
        if system.storage_failure is None and not self._exit_code:
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

    def _server(self, system: System, run_directory: RunDirectory) -> GatewayServer:
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
        self._stopping.set()

    def _guard_lost(self) -> None:
        _logger.critical("the guard is gone, and with it every component")
        self._exit_code = EXIT_GUARD_LOST
        self._stopping.set()


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
