"""Fixtures that more than one folder uses."""

import datetime
import ipaddress
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.testing import free_port

# Hundreds of processes are started, and none should compile all modules anew: an installed package does not either.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).resolve().parent.parent / "target" / "bytecode"))

# What a shell ignores for programs in the background, and what a launcher may have blocked: those tested would inherit.
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)

# How long an example takes, or is in the making, says how busy the machine is, and nothing of what is tested.
# Where a failure would hold up somebody else's change, the same examples every time.
settings.register_profile(
    "tekton", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("tekton")


class ByFile(LoadFileScheduling):
    """Files stay whole where tests run in several processes.

    Those that start whole systems share one process, as most have an eye on how long something takes; but for those
    that take long and do not, so that no process is left with nothing to do.
    """

    _PATIENT = ("tests/e2e/test_documented_", "tests/e2e/test_schema.py")

    def _split_scope(self, nodeid: str) -> str:
        one_by_one = nodeid.startswith("tests/e2e/") and not nodeid.startswith(self._PATIENT)
        return "e2e" if one_by_one else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture
async def registry() -> AsyncIterator[ComponentRegistry]:
    """A registry in memory."""
    async with ComponentRegistry() as registry:
        yield registry


class Files(NamedTuple):
    """A certificate and its key, in files."""

    cert: Path
    key: Path


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    directory: Path, name: str = "one", *, days: tuple[float, float] = (-1, 1), key: Any = None, of: Files | None = None
) -> Files:
    private = key or ec.generate_private_key(ec.SECP256R1())
    signer: Any = private if of is None else serialization.load_pem_private_key(of.key.read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name if of is None else of.cert.stem))
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days[0]))
        .not_valid_after(now + datetime.timedelta(days[1]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=of is None, path_length=0 if of is None else None), critical=True)
        .sign(signer, None if "Ed" in type(signer).__name__ else hashes.SHA256())
    )
    files = Files(directory / f"{name}.crt", directory / f"{name}.key")
    files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


@pytest.fixture(scope="session")
def certificate() -> Callable[..., Files]:
    """`certificate(directory, name)`: a certificate for localhost and its key; *of* vouches for it, else itself."""
    return _certificate


@contextmanager
def _memory_disk(at: Path, options: str) -> Iterator[Path]:
    at.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.fixture(scope="session")
def memory_disk() -> Callable[[Path, str], AbstractContextManager[Path]]:
    """`with memory_disk(path, "size=2m")`: a file system of its own at *path*. Needs root; skipped without."""
    return _memory_disk


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """The first of four ports in a row that nobody uses."""
    return free_port(4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A report travels between processes as UTF-8, and what was logged on purpose may have no such form."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
