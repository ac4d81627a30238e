import pytest

from tekton.utils.strict_urls import InvalidUrlError, parse_url


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://example.com", "example.com", 80, "/"),
        ("https://example.com/a/b?c=d&e=%20", "example.com", 443, "/a/b?c=d&e=%20"),
        ("http://example.com:8080?q=@", "example.com", 8080, "/?q=@"),
        ("http://EXAMPLE.com./", "example.com.", 80, "/"),
        ("http://my_service:1", "my_service", 1, "/"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80, "/"),
        ("http://192.0.2.7/", "192.0.2.7", 80, "/"),
        ("https://[2001:DB8::7]:8443/x", "2001:db8::7", 8443, "/x"),
        ("http://[::ffff:7f00:1]/", "::ffff:7f00:1", 80, "/"),
        ("http://h/user@host", "h", 80, "/user@host"),
    ],
)
def test_the_parts_of_a_plain_url(text: str, host: str, port: int, target: str) -> None:
    url = parse_url(text)

    assert (url.host, url.port, url.target) == (host, port, target)
    assert parse_url(str(url)) == url


def test_the_usual_port_is_not_written() -> None:
    assert str(parse_url("http://h:80/x")) == "http://h/x"
    assert str(parse_url("https://[::1]:443")) == "https://[::1]/"
    assert parse_url("http://[::1]:443/secret").origin == "http://[::1]:443"


REFUSED = {
    "begins with http": [
        *("", "/x", "x", "//h/x", "http:h", "http:/h", "HTTP://h/", "data:text/plain,x", "file:///etc/passwd"),
        *("gopher://h/x", "ftp://h/x", "unix://h/x", "ws://h/x", "javascript://h/x"),
    ],
    "user or a password": ["http://u@h/", "http://u:p@h/", "http://h:80@elsewhere/", "http://a@b@h/", "http://@h/"],
    "spaces, control characters": [
        *("http://h\t/", "http://h\r/", "http://h\n/", "http://h\0/", "http://h\x7f/", "http://h /", " http://h/"),
        *(
            "http://h/\r\nX-Evil: 1",
            "http://h/%0d%0aX: 1",
            "http://h\\@elsewhere/",
            "http://h\\.elsewhere/",
            "http://{h}/",
        ),
    ],
    "control character$": ["http://h/%0d%0aX-Evil:1", "http://h/%00", "http://h/%7F", "http://h/%zz", "http://h/%"],
    "fragment": ["http://h/#x", "http://h#@elsewhere/"],
    "ASCII": [
        "http://bücher.de/",
        "http://127。0。0。1/",
        "http://ⓛocalhost/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://h\u200b/",
    ],
    "unusual notation": [
        *("http://2130706433/", "http://0x7f000001/", "http://0x7F.1/", "http://0177.0.0.1/", "http://127.1/"),
        *("http://127.0.1/", "http://017700000001/", "http://127.0.0.1./", "http://1.2.3.4.5/", "http://256.0.0.1/"),
        *("http://[127.0.0.1]/", "http://[::g]/", "http://[:]/", "http://[]/", "http://h.0x1/"),
    ],
    "network interface": ["http://[fe80::1%25eth0]/"],
    "no escape": ["http://[fe80::1%eth0]/"],
    "neither a name nor an address": [
        *("http:///x", "http://./", "http://a..b/", "http://-a.b/", "http://a-.b/", "http://h%2e/", "http://*.h/"),
        *(f"http://{'a' * 64}/", f"http://{'a.' * 127}b/"),
    ],
    "from 1 to 65535": [
        "http://h:/",
        "http://h:0/",
        "http://h:080/",
        "http://h:65536/",
        "http://h:-1/",
        "http://h:8x/",
        "http://[::1]x/",
        "http://[::1/",
    ],
    "2048 characters": ["http://h/" + "x" * 2048],
}


@pytest.mark.parametrize(("problem", "text"), [(problem, text) for problem, texts in REFUSED.items() for text in texts])
def test_what_could_be_read_in_two_ways_is_refused(problem: str, text: str) -> None:
    with pytest.raises(InvalidUrlError, match=problem):
        parse_url(text)
