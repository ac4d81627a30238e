"""The command line in a process of its own: with its output in a pipe, or on a terminal."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path


def _command(data_dir: Path, arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "tekton", "--data-dir", str(data_dir), *arguments]


class Background:
    """`tekton ARGUMENTS...`, whose output is read line by line."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            _command(data_dir, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def said(self) -> str:
        """The next line of what it says to the person."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip("\n")

    def interrupt(self) -> int:
        """Ctrl-C; its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=20)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Terminal:
    """`tekton ARGUMENTS...` on a terminal of its own."""

    def __init__(
        self, data_dir: Path, *arguments: str, columns: int = 100, lines: int = 30, term: str = "xterm-256color"
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.text = ""
        sizes = {"COLUMNS": str(columns), "LINES": str(lines)}
        environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
        self.process = subprocess.Popen(
            _command(data_dir, arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment, **sizes, "TERM": term},
        )
        os.close(theirs)

    def until(self, text: str) -> str:
        """Everything that was shown until *text* was."""
        while text not in self.text:
            piece = self._read()
            assert piece, f"never shown {text!r}: {self.text!r}"
            self.text += piece
        return self.text

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def interrupt(self) -> int:
        """Ctrl-C; its exit status. What it has shown last is in `text`."""
        self.process.send_signal(signal.SIGINT)
        return self.exit_status()

    def exit_status(self) -> int:
        """Its exit status, when it ends."""
        while piece := self._read():
            self.text += piece
        return self.process.wait(timeout=20)

    def all(self) -> str:
        """Everything that it shows until it ends, without colours."""
        self.exit_status()
        return re.sub(r"\x1b\[[0-9;]*m", "", self.text)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self) -> str:
        try:
            return os.read(self._ours, 65536).decode(errors="replace")
        except OSError:
            return ""  # nobody is at the other end any more
