"""The headers of pages."""

from tekton.gateway.pages import page_headers


def test_a_page_is_not_shown_inside_another() -> None:
    assert dict(page_headers("text/html; charset=utf-8", [])) == {
        "content-security-policy": "frame-ancestors 'none'",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
    }


def test_what_a_page_says_itself_counts() -> None:
    own = [("Content-Security-Policy", "default-src 'self'"), ("Referrer-Policy", "origin")]

    assert page_headers("TEXT/HTML", own) == [("x-frame-options", "DENY")]


def test_what_is_no_page_needs_none_of_it() -> None:
    assert page_headers("application/json", []) == []
