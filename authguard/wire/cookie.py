"""The ``Cookie`` and ``Set-Cookie`` fields (RFC 6265): find a cookie in a request, and judge how one is set."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from authguard.wire.grammar import WireError

#: The longest ``Cookie`` field that is searched, in bytes. Its lines are counted together.
MAX_COOKIES = 64 * 1024

# https://www.rfc-editor.org/rfc/rfc6265.html#section-4.1.1
#
#   cookie-value   = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE )
#   cookie-octet   = %x21 / %x23-2B / %x2D-3A / %x3C-5B / %x5D-7E
#
# A semicolon ends a cookie even between quotes, as in browsers. A server that reads it as part of the value can be made
# to see other cookies than this one.
_OCTETS = rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*+"
_VALUE = re.compile(rb'"(%b)"|(%b)' % (_OCTETS, _OCTETS))


def cookie_values(lines: Sequence[bytes], name: str) -> list[bytes]:
    """The values of all cookies of a name, in order, as they were sent. HTTP/2 may send several field lines.

    https://www.rfc-editor.org/rfc/rfc6265.html#section-4.2.1

        cookie-string = cookie-pair *( ";" SP cookie-pair )

    Names are compared as they are. Spaces and tabs around a name and a value are left out.
    """
    find = _cookie_of(name).findall
    return [value.strip(b" \t") for line in lines for value in find(line)]


def stripped_cookie_names(lines: Sequence[bytes], name: str) -> list[bytes]:
    """The names of all cookies that Starlette and Python take for this name, as they were sent.

    They read a name without what ``str.strip`` takes from it, and that is more than spaces and tabs. Browsers send it.
    """
    find = _stripped_cookie_of(name).findall
    return [sent for line in lines for sent in find(line)]


def cookie_value(value: bytes) -> bytes:
    """The value without the quotes around it, which some libraries write. Raises ``WireError`` for anything else."""
    match = _VALUE.fullmatch(value)
    if match is None:
        raise WireError("a character that no cookie has")
    return match[1] or match[2] or b""


@lru_cache(64)
def _cookie_of(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|;)[ \t]*+%b[ \t]*+=([^;]*+)" % re.escape(name.encode("ascii")))


@lru_cache(64)
def _stripped_cookie_of(name: str) -> re.Pattern[bytes]:
    blanks = rb"[\t-\r\x1c-\x20\x85\xa0]*+"  # of Latin-1
    return re.compile(rb"(?:\A|;)[ \t]*+(%b%b%b)=" % (blanks, re.escape(name.encode("ascii")), blanks))


def set_cookie_problems(line: bytes, names: Collection[str]) -> tuple[str, Sequence[str]] | None:
    """The name of the cookie that a ``Set-Cookie`` line sets, and why credentials in it are not safe.

    None if it is not one of ``names``. https://www.rfc-editor.org/rfc/rfc6265.html#section-4.1
    """
    pair, *rest = line.split(b";", MAX_ATTRIBUTES)
    name, _, value = (part.strip(b" \t").decode("latin-1") for part in pair.partition(b"="))
    if name not in names:
        return None
    texts = (part.decode("latin-1").partition("=") for part in rest)
    attributes = {attribute.strip().lower(): text.strip() for attribute, _, text in texts}
    secure, domain = "secure" in attributes, attributes.get("domain", "")
    problems = prefix_problems(name, secure=secure, path=attributes.get("path", ""), domain=domain)
    # A line that removes the cookie need not be safe. Starlette writes an empty value, and quotes around it.
    if value.strip('"') and attributes.get("max-age") != "0":
        http_only = "httponly" in attributes
        same_site = attributes.get("samesite", "")
        problems += attribute_problems(secure=secure, http_only=http_only, same_site=same_site, domain=domain)
    return name, problems


#: How many attributes of a ``Set-Cookie`` line are read.
MAX_ATTRIBUTES = 16


def prefix_problems(name: str, *, secure: bool, path: str, domain: str) -> list[str]:
    """Whether browsers ignore such a cookie, because its name has a prefix whose conditions it does not meet.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-cookie-name-prefixes
    """
    if name.lower().startswith("__host-") and not (secure and path == "/" and not domain):
        return ["browsers ignore it: a name with __Host- needs Secure, Path=/ and no Domain"]
    if name.lower().startswith("__secure-") and not secure:
        return ["browsers ignore it: a name with __Secure- needs Secure"]
    return []


def attribute_problems(*, secure: bool, http_only: bool, same_site: str, domain: str) -> list[str]:
    """Why credentials in a cookie with these attributes are not safe."""
    problems = {
        "without Secure, it is sent over plain HTTP too": secure,
        "without HttpOnly, each script of the page can read it": http_only,
        "without SameSite=Lax or Strict, it is sent with what other sites cause": same_site.lower()
        in {"lax", "strict"},
        "with Domain, other hosts of the domain get it and can set it": not domain,
    }
    return [problem for problem, is_met in problems.items() if not is_met]
