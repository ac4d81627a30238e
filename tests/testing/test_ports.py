"""Ports for what a test starts."""

import socket
import subprocess
import sys

from tekton.testing import free_port


def test_a_port_is_given_out_once() -> None:
    ports = {free_port() for _ in range(100)}

    assert len(ports) == 100


def test_a_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass


def test_ports_in_a_row_pass_over_what_is_in_use() -> None:
    first = free_port(3)
    with socket.create_server(("127.0.0.1", first + 4)):
        second = free_port(3)

    assert second > first + 4 or second < first
    assert not set(range(first, first + 3)) & set(range(second, second + 3))


def test_a_port_that_another_process_was_given_is_not_given_out() -> None:
    given = free_port()
    asks = f"from tekton.testing import ports; ports._next = {given}; print(ports.free_port())"

    elsewhere = int(subprocess.run([sys.executable, "-c", asks], check=True, capture_output=True, text=True).stdout)

    assert elsewhere != given
