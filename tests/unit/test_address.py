import pytest

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.address import Address


@pytest.mark.parametrize(
    ("url", "origin", "first", "host"),
    [
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000, False), "/", "127.0.0.1:8000"),
        ("http://name", ("name", 80, False), "/", "name"),
        ("https://name/", ("name", 443, True), "/", "name"),
        ("https://name:80/a/b/", ("name", 80, True), "/a/b", "name:80"),
        ("http://[::1]:8000/base", ("::1", 8000, False), "/base", "[::1]:8000"),
        ("http://[fe80::1%eth0]:1", ("fe80::1%eth0", 1, False), "/", "[fe80::1]:1"),
        ("http://b\u00fccher.example/\u00e4+b%20c", ("xn--bcher-kva.example", 80, False), "/%C3%A4+b%20c", None),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url: str, origin: tuple[str, int, bool], first: str, host: str | None) -> None:
    address = Address.parse(url)
    assert address.origin == origin
    assert address.head == f"POST {first} HTTP/1.1\r\nhost: {host or origin[0]}\r\n".encode()


def test_a_user_and_a_password_are_sent_as_such() -> None:
    assert b"\r\nauthorization: Basic bWU6YUBi\r\n" in Address.parse("http://me:a%40b@name").head


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "it does not begin with http:// or https://"),
        ("127.0.0.1:8000", "it does not begin with http:// or https://"),
        ("ftp://name", "it does not begin with http:// or https://"),
        ("http://", "it names no host"),
        ("http://:80", "it names no host"),
        ("http://name:0", "its port is not a number from 1 to 65535"),
        ("http://name:70000", "its port is not a number from 1 to 65535"),
        ("http://name:x", "its port is not a number from 1 to 65535"),
        ("http://name?a=1", "nothing can follow its path, neither '?' nor '#'"),
        ("http://name/#a", "nothing can follow its path, neither '?' nor '#'"),
        ("http://na me", "it has a space or a character that cannot be printed"),
        ("http://name\r\nx: y", "it has a space or a character that cannot be printed"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://\u00fc" + "x" * 70, "its host is not a name"),
    ],
)
def test_a_url_that_is_not_usable_gets_one_sentence(url: str, why: str) -> None:
    with pytest.raises(LoadError) as raised:
        Address.parse(url)
    assert str(raised.value).startswith(f"needs an address such as http://127.0.0.1:8000, not '{url}': {why}")


@pytest.mark.parametrize(
    "url", ["ftp://me:s3cret@host", "http://me:s3#cret@host", "http://me:s3cret@host:0", "http://me:s3cret@"]
)
def test_a_password_is_not_told_where_the_address_is_refused(url: str) -> None:
    with pytest.raises(LoadError, match="needs an address") as refused:
        Address.parse(url)
    assert "cret" not in str(refused.value)
