"""`python -m tekton.service.health`: does the control plane of this data directory answer? For health checks.

It asks at the Unix socket, and so needs to know neither the port nor whether there is TLS. The exit status is 0 when
the control plane is well, else 1.
"""

import socket  # noqa: TID251 - one question, without a client
import sys
from typing import Final, Literal

from tekton.utils.data_dir import find_data_dir
from tekton.utils.tekton_errors import ConfigurationError

PATIENCE: Final = 2.0
_QUESTION: Final = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main() -> Literal[0, 1]:
    """Ask once; returns the exit status."""
    try:
        path = find_data_dir() / "run" / "control.sock"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(_QUESTION)
            answer = connection.recv(64)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    sys.stdout.write(f"{status}\n")
    return 0 if status.split()[1:2] == ["200"] else 1


if __name__ == "__main__":
    sys.exit(main())
