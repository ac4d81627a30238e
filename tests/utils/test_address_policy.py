from ipaddress import ip_address, ip_network

import pytest

from tekton.utils.address_policy import AddressPolicy, closed

CLOSED = {
    "this machine": "127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 ::1 :: ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1",
    "a private network": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fc00::1 fec0::1 ::ffff:10.0.0.1 2002:a00:1::",
    "the local link": "169.254.1.1 fe80::1 2002:a9fe:101::1",
    "the network of a provider": "100.64.0.1 100.127.255.255",
    "a group of machines": "224.0.0.1 239.255.255.255 ff02::1",
    "a reserved address": (
        "192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 240.0.0.1 2001:db8::1 2001::1 100::1 3fff::1 "
        "4000::1 5f00::1 64:ff9b:1::a00:1"
    ),
}


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in CLOSED.items() for text in texts.split()])
def test_what_is_not_of_the_public_internet_is_closed(what: str, text: str) -> None:
    address = ip_address(text)

    assert AddressPolicy().problem(address, 80) == what


@pytest.mark.parametrize(
    "text", ["2002:7f00:1::1", "2001:0:7f00:1::", "2606:4700::5efe:a00:1", "2606:4700:0:0:200:5efe:7f00:1"]
)
def test_an_address_inside_another_counts(text: str) -> None:
    assert closed(ip_address(text)) is not None


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1"]
)
def test_public_addresses_are_open_at_the_ports_of_the_web(text: str) -> None:
    address = ip_address(text)

    assert [AddressPolicy().problem(address, port) for port in (80, 443)] == [None, None]
    assert AddressPolicy().problem(address, 6379) == "port 6379"


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"],
)
def test_the_metadata_service_is_opened_by_its_very_address_only(text: str) -> None:
    address = ip_address(text)
    wide = AddressPolicy([ip_network("0.0.0.0/0"), ip_network("::/0")])

    assert AddressPolicy().problem(address, 80) == wide.problem(address, 80) == "the metadata service of a cloud"


def test_who_names_the_metadata_service_means_it() -> None:
    assert AddressPolicy([ip_network("169.254.169.254")]).problem(ip_address("169.254.169.254"), 80) is None


def test_an_opened_network_is_open_at_every_port_and_in_every_wrapping() -> None:
    policy = AddressPolicy([ip_network("10.1.0.0/16")])

    assert policy.problem(ip_address("10.1.2.3"), 6000) is None
    assert policy.problem(ip_address("::ffff:10.1.2.3"), 6000) is None
    assert policy.problem(ip_address("10.2.0.1"), 80) == "a private network"


def test_ports_of_this_machine_are_open_as_long_as_they_are_given() -> None:
    ports = {8001}
    policy = AddressPolicy(local_ports=lambda: ports)
    before = [policy.problem(ip_address(text), 8001) for text in ("127.0.0.1", "::1", "10.0.0.1", "::ffff:127.0.0.1")]

    ports.clear()

    assert before == [None, None, "a private network", "this machine"]
    assert policy.problem(ip_address("127.0.0.1"), 8001) == "this machine"
