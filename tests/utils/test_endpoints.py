import pytest

from tekton.utils.endpoints import endpoint_problem


@pytest.mark.parametrize(
    "text",
    [
        *(
            "http://x:1",
            "http://127.0.0.1:8100",
            "http://127.0.0.1:65535/",
            "http://localhost:8001/api",
            "https://a.b-c.example",
        ),
        *(
            "http://10.0.0.1:8003",
            "http://[::1]:8000",
            "http://[fd00::7]",
            "http://my_service:80/",
            "http://elsewhere",
            "http://10.1.2.3",
            "https://192.168.0.255:443/",
        ),
    ],
)
def test_an_endpoint_may_be_anywhere(text: str) -> None:
    assert endpoint_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file:///etc/passwd", "must be a URL that begins with http:// or https://"),
        ("gopher://h:70/", "must be a URL that begins with http:// or https://"),
        ("http://user:secret@h/", "must not name a user or a password"),
        ("http://h/\r\nHost: elsewhere", "must not contain spaces, control characters, backslashes, quotes or braces"),
        ("http://h:99999", "its port must be a number from 1 to 65535"),
        ("http://2130706433:80", "has an address in an unusual notation: write it like 192.0.2.7 or [2001:db8::7]"),
        ("http://10.0.0.256:80", "has an address in an unusual notation: write it like 192.0.2.7 or [2001:db8::7]"),
        ("http://10.0.0.01", "has an address in an unusual notation: write it like 192.0.2.7 or [2001:db8::7]"),
        ("http://h/?x=1", "is a base URL, to which paths are added: it can have no query"),
        ("http://0.0.0.0:8000", "has an address that is not one of a single machine"),
        ("http://[ff02::1]:8000", "has an address that is not one of a single machine"),
        ("http://169.254.169.254/latest", "has the address of the metadata service of a cloud"),
        ("http://[::ffff:169.254.169.254]/", "has the address of the metadata service of a cloud"),
    ],
)
def test_what_can_never_be_right_is_refused(text: str, problem: str) -> None:
    assert endpoint_problem(text) == problem
