"""Ports for what a test starts."""

import socket

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
