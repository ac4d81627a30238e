"""Types a few commands into a real terminal and draws what it shows: docs/assets/session.svg.

python docs/site/record.py      record it anew; the ports of examples/system have to be free

The system is a copy of examples/system in a home directory of its own. Nothing is left out or put in, but for the name
of that directory, which becomes `~`, and for lines that are longer than the terminal is wide: they are cut.
"""

import os
import pty
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from screen import BRIGHT, Cell, Screen, drawn

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "assets" / "session.svg"
COLUMNS = 88

COMMANDS = ("tekton up -d", "tekton chaos kill rhetor --hold", "tekton why rhetor")
"""What is typed."""
PAUSE = 2.0
"""Seconds between one command and the next, as somebody needs who reads."""


def output_of(line: str, home: Path) -> str:
    """What *line* prints in a terminal, in the folder of the system."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home / "system")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = {"PATH": path, "HOME": str(home), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        os.execvpe("bash", ["bash", "-c", f"stty cols {COLUMNS} rows 60; {line}"], environment)
    printed = b""
    while chunk := _read(terminal):
        printed += chunk
    os.close(terminal)
    os.waitpid(pid, 0)
    return printed.decode().replace(str(home), "~")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def recorded(home: Path) -> Screen:
    """The terminal, after all commands."""
    screen = Screen()
    for line in COMMANDS:
        screen.lines[-1:] = [[Cell("$", "#4ade80"), Cell(" ", BRIGHT), *(Cell(one, BRIGHT) for one in line)], []]
        part = Screen()
        part.write(output_of(line, home))
        screen.lines[-1:] = [*part.lines, []]
        time.sleep(PAUSE)
    screen.lines = [line[:COLUMNS] for line in screen.lines]
    return screen


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copytree(ROOT / "examples" / "system", home / "system", ignore=shutil.ignore_patterns("data"))
        try:
            PICTURE.write_text(drawn(recorded(home), "A terminal session with Tekton", COLUMNS))
        finally:
            output_of("tekton down", home)
