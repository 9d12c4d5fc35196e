"""The rules: a view of a text -> where in it each finds something.

Candidates come from RE2, which has no backtracking, so that no text can make a rule slow. What RE2 cannot say, what stands
beside a candidate and whether its check digits are right, is looked at after.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import re2

from privacy.checks import CARD_LENGTHS, IBAN_LENGTHS, is_card, is_iban, is_international, is_north_american, is_ssn
from privacy.strategies import URL_PASSWORD

Span = tuple[int, int]


class Rule(NamedTuple):
    """`find` says where in a shadow the rule finds something. It need not be asked where `gate` matches nothing."""

    find: Callable[[bytes], Iterator[Span]]
    gate: bytes


def latin1(memory_bytes: int = 8 << 20) -> Any:
    """Options for patterns that look at shadows: one byte a character."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory_bytes
    return options


def compile_bytes(pattern: bytes, memory_bytes: int = 8 << 20) -> Any:
    """A pattern for shadows."""
    return re2.compile(pattern, latin1(memory_bytes))


_DIGITS = frozenset(b"0123456789")
_WORD = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | frozenset(range(0x80, 0x100))


def _at(shadow: bytes, place: int) -> int:
    """The byte there, 0 outside of the text."""
    return shadow[place] if 0 <= place < len(shadow) else 0


def _in_number(shadow: bytes, start: int, end: int, joints: bytes = b".-") -> bool:
    """Whether a range is only part of a longer number: a digit touches it, or is joined to it by one of `joints`."""
    before, after = _at(shadow, start - 1), _at(shadow, end)
    return (
        before in _DIGITS
        or after in _DIGITS
        or (before in joints and _at(shadow, start - 2) in _DIGITS)
        or (after in joints and _at(shadow, end + 1) in _DIGITS)
    )


_SCRUBBED = b":" + URL_PASSWORD.encode()
_LOCAL = bytes(_WORD) + b".%+-'&"
_DOMAIN = re.compile(
    rb"(?:[0-9A-Za-z\x80-\xff][-0-9A-Za-z\x80-\xff]{0,62}\.)+(?:xn--[0-9A-Za-z-]{1,59}|[A-Za-z\x80-\xff]{2,63})"
)
"""The standard library's, quicker here than RE2; it looks at no more than 255 characters, and one way leads to each dot."""
_FILES = frozenset(
    b"png jpg jpeg gif svg webp ico css js mjs cjs ts tsx jsx json map tgz gz tar html htm xml yml yaml txt log exe dll jar "
    b"class service socket timer mount target slice local internal".split()
)
"""Ends of names that look like a domain and are none: `logo@2x.png`, `getty@tty1.service`, `pkg@1.2.3.tgz`."""


def find_emails(shadow: bytes) -> Iterator[Span]:
    """local@domain.tld, as a whole. Not the host part of a URL, not a file, not a git remote."""
    at = shadow.find(b"@")
    while at != -1:
        window = shadow[max(0, at - 254) : at]
        local = window[len(window.rstrip(_LOCAL)) :].lstrip(b".-'&%")
        domain = _DOMAIN.match(shadow, at + 1, at + 256) if local else None
        if domain is not None:
            start, end = at - len(local), domain.end()
            host = domain[0].lower()
            is_file = host.rpartition(b".")[2] in _FILES
            is_remote = local == b"git" and _at(shadow, end) in b":/"
            is_url = shadow[max(0, start - 3) : start] == b"://" or shadow[start - 1 : at] == _SCRUBBED
            if not (is_file or is_remote or is_url):
                yield start, end
        at = shadow.find(b"@", at + 1)


_RUN = compile_bytes(rb"[0-9](?:[ .\-+_]{0,2}[0-9]){12,}")
_GROUP = re.compile(rb"[0-9]+")
_GROUPS_MAX = 8


def find_cards(shadow: bytes) -> Iterator[Span]:
    """Payment card numbers, in one piece or in groups with up to two spaces, dots, dashes, plus signs or underscores between."""
    for run in _RUN.finditer(shadow):
        yield from _cards_in(shadow, [group.span() for group in _GROUP.finditer(shadow, *run.span())])


def _cards_in(shadow: bytes, groups: list[Span]) -> Iterator[Span]:
    """Cards among groups of digits, each of whose neighbours are joined."""
    last = 0
    for i, (start, first_end) in enumerate(groups):
        if start < last or shadow[start] not in b"23456":
            continue
        digits = b""
        for next_start, end in groups[i : i + _GROUPS_MAX]:
            digits += shadow[next_start:end]
            if len(digits) >= CARD_LENGTHS.stop:
                break
            if len(digits) in CARD_LENGTHS and is_card(digits) and _stands_alone(shadow, start, end, end == first_end):
                yield start, end
                last = end
                break


def _stands_alone(shadow: bytes, start: int, end: int, one_piece: bool) -> bool:
    """A number in one piece is no card if it is the fraction or the whole part of another number, or part of a hex text."""
    if _at(shadow, start - 1) == 0x2E and _at(shadow, start - 2) in _DIGITS:
        return False
    if not one_piece:
        return True
    if (
        _at(shadow, end) == 0x2E
        and _at(shadow, end + 1) in _DIGITS
        and shadow[end + 1 : end + 21].lstrip(b"0")[:1].isdigit()
    ):
        return False
    return not _in_hex(shadow, start, end)


_HEX = b"0123456789abcdefABCDEF-"


def _in_hex(shadow: bytes, start: int, end: int) -> bool:
    before, after = shadow[max(0, start - 40) : start], shadow[end : end + 40]
    head, tail = before[len(before.rstrip(_HEX)) :], after[: len(after) - len(after.lstrip(_HEX))]
    letters = (head + tail).replace(b"-", b"")
    return len(letters) + end - start >= 24 and not letters.isdigit()


_SSN = compile_bytes(rb"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_SSN_NAMED = compile_bytes(
    rb"(?i:ssn|social security(?: (?:number|no\.?))?)[^0-9A-Za-z]{1,6}(?:is )?([0-9]{3}[ .-]?[0-9]{2}[ .-]?[0-9]{4})"
)


def find_ssns(shadow: bytes) -> Iterator[Span]:
    """US social security numbers: 123-45-6789; without dashes only behind their name."""
    for match in _SSN.finditer(shadow):
        start, end = match.span()
        if is_ssn(shadow[start:end].replace(b"-", b"")) and not _in_number(shadow, start, end):
            yield start, end
    for match in _SSN_NAMED.finditer(shadow):
        start, end = match.span(1)
        if is_ssn(_digits(shadow[start:end])) and not _in_number(shadow, start, end):
            yield start, end


_NOT_DIGITS = bytes(set(range(256)) - _DIGITS)


def _digits(text: bytes) -> bytes:
    return text.translate(None, _NOT_DIGITS)


_INTERNATIONAL = compile_bytes(rb"\+[1-9](?:[ ().\-/]{0,3}[0-9]){7,14}")
_US = compile_bytes(
    rb"(?:1[ .-])?(?:\([2-9][0-9]{2}\)[ .-]?[0-9]{3}[ .-]?[0-9]{4}|[2-9][0-9]{2}-[0-9]{3}-[0-9]{4}"
    rb"|[2-9][0-9]{2}\.[0-9]{3}\.[0-9]{4})"
)
_NAMED = compile_bytes(
    rb"(?i:phone|mobile|cell|tel|fax|telephone|call|sms|whatsapp)(?i:[ _-]?(?:number|no|nr))?[^0-9A-Za-z+]{1,6}"
    rb"((?:1[ .-]?)?\(?[2-9][0-9]{2}\)?[ .-]?[0-9]{3}[ .-]?[0-9]{4}|00[1-9](?:[ .\-/]?[0-9]){7,13}|0[1-9](?:[ .\-/]?[0-9]){7,10})"
)


def find_phones(shadow: bytes) -> Iterator[Span]:
    """International numbers with a plus sign, US numbers as they are written; bare digits only behind a word for phone."""
    for match in _INTERNATIONAL.finditer(shadow):
        start, end = match.span()
        if _at(shadow, start - 1) in _WORD and not _escaped(shadow, start):
            continue
        end = _whole_groups(shadow, start, end)
        if is_international(_digits(shadow[start:end])) and not _in_number(shadow, start, end, b""):
            yield start, end
    for match in _US.finditer(shadow):
        start, end = match.span()
        if is_north_american(_digits(shadow[start:end])[-10:]) and not _in_number(shadow, start, end):
            yield start, end
    for match in _NAMED.finditer(shadow):
        start, end = match.span(1)
        if not _in_number(shadow, start, end):
            yield start, end


def _whole_groups(shadow: bytes, start: int, end: int) -> int:
    """Where a number that was cut off at fifteen digits, or took in a neighbour, ends as a phone number."""
    if _at(shadow, end) in _DIGITS or not is_international(_digits(shadow[start:end])):
        cut = max(shadow.rfind(b" ", start, end), shadow.rfind(b")", start, end))
        while cut > start and not is_international(_digits(shadow[start:cut])):
            cut = shadow.rfind(b" ", start, cut)
        if cut > start:
            return len(shadow[:cut].rstrip(b" (.-/"))
    return end


_COUNTRIES = "|".join(sorted(IBAN_LENGTHS)).encode()
_IBAN = compile_bytes(b"(?:" + _COUNTRIES + rb")[0-9]{2}(?:[ -]?[0-9A-Z]){11,30}")


def find_ibans(shadow: bytes) -> Iterator[Span]:
    """IBANs, in one piece or in groups, upper case; modulo 97 holds."""
    at = 0
    while (match := _IBAN.search(shadow, at)) is not None:
        start = match.start()
        length = IBAN_LENGTHS[shadow[start : start + 2].decode("latin-1")]
        end = _end_of(shadow, start, length)
        at = start + 1
        apart = _at(shadow, start - 1) not in _WORD - _LOWER and _at(shadow, end) not in _WORD
        if end and apart and is_iban(shadow[start:end].replace(b" ", b"").replace(b"-", b"")):
            yield start, end
            at = end


_LOWER = frozenset(b"abcdefghijklmnopqrstuvwxyz_")


def _end_of(shadow: bytes, start: int, length: int) -> int:
    """Where the `length`th letter or digit from `start` on ends, 0 if there are fewer."""
    at = start
    while length and at < len(shadow):
        length -= shadow[at] not in b" -"
        at += 1
    return 0 if length else at


_JWT = compile_bytes(rb"eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{6,}(?:\.[0-9A-Za-z_-]*){1,3}")


def find_jwts(shadow: bytes) -> Iterator[Span]:
    """JSON web tokens, signed, encrypted or neither: a header that is JSON in base64, and two to four more parts."""
    for match in _JWT.finditer(shadow):
        yield match.span()


API_KEYS = (
    rb"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"  # AWS
    rb"|gh[pousr]_[0-9A-Za-z]{20,255}|github_pat_[0-9A-Za-z_]{22,255}"
    rb"|xox[a-z](?:\.xox[a-z])?-[0-9A-Za-z-]{10,250}|xapp-[0-9]-[0-9A-Za-z-]{10,250}"  # Slack
    rb"|hooks\.slack\.com/services/T[0-9A-Z]{6,}/B[0-9A-Z]{6,}/[0-9A-Za-z]{16,}"
    rb"|[srp]k_(?:live|test)_[0-9A-Za-z]{10,247}|whsec_[0-9A-Za-z+/=]{20,}"  # Stripe
    rb"|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,}"  # Google
    rb"|glpat-[0-9A-Za-z_-]{20,}|npm_[0-9A-Za-z]{36}|pypi-AgE[0-9A-Za-z_-]{20,}|dop_v1_[0-9a-f]{64}"
    rb"|SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}|sk-(?:proj-|ant-|svcacct-)[0-9A-Za-z_-]{20,}|sk-[0-9A-Za-z]{32,}"
)
_API_KEY = compile_bytes(API_KEYS)
_AWS_SECRET = compile_bytes(rb"[0-9A-Za-z+/]{40,}")
_BEARER = compile_bytes(rb"(?i:bearer)[ \t]+([0-9A-Za-z\-._~+/]{8,}=*)")
_BASIC = compile_bytes(rb"(?i:basic)[ \t]+([0-9A-Za-z+/_-]{6,}={0,2})")
_PRIVATE = compile_bytes(
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)"
)
_URL_PASSWORD = compile_bytes(rb"://[^\s/:@\"'<>\x00-\x20]*:([^\s/@\"'<>\x00-\x20]+)@")


def find_api_keys(shadow: bytes) -> Iterator[Span]:
    """Keys of known services by their prefix, Authorization values, private keys."""
    aws = False
    for match in _API_KEY.finditer(shadow):
        start, end = match.span()
        kind = shadow[start : start + 4]
        if _at(shadow, start - 1) in _WORD and (kind.isalpha() or kind[:3] == b"sk-") and not _escaped(shadow, start):
            continue
        if kind in (b"AKIA", b"ASIA", b"ABIA", b"ACCA"):
            if _at(shadow, end) in _WORD:
                continue
            aws = True
        yield start, end
    if aws:
        yield from _find_aws_secrets(shadow)
    for match in _BEARER.finditer(shadow):
        value = match.group(1)
        if len(value) >= 24 or any(c in _DIGITS for c in value):
            yield match.span(1)
    for match in _BASIC.finditer(shadow):
        if _is_basic(match.group(1)):
            yield match.span(1)
    for match in _PRIVATE.finditer(shadow):
        yield match.span()


def find_url_passwords(shadow: bytes) -> Iterator[Span]:
    """What stands between the colon and the at sign in `scheme://user:password@host`."""
    for match in _URL_PASSWORD.finditer(shadow):
        yield match.span(1)


def _escaped(shadow: bytes, start: int) -> bool:
    r"""Whether the letter before is the `n` of a literal `\n`."""
    return _at(shadow, start - 2) == 0x5C and _at(shadow, start - 1) in b"nrtbf"


def _find_aws_secrets(shadow: bytes) -> Iterator[Span]:
    """Beside an access key id, forty characters of base64 with both cases and a digit are its secret."""
    for match in _AWS_SECRET.finditer(shadow):
        text = match.group()
        if len(text) == 40 and text.lower() != text != text.upper() and any(c in _DIGITS for c in text):
            yield match.span()


def _is_basic(value: bytes) -> bool:
    """Whether base64 says `user:password`."""
    try:
        said = base64.b64decode(
            value + b"=" * (-len(value) % 4), altchars=b"-_" if b"-" in value or b"_" in value else None
        )
    except binascii.Error:
        return False
    return b":" in said and said.isascii()


_IPV4 = compile_bytes(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_IPV6 = compile_bytes(rb"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.[0-9]{1,3}){0,3}")


def find_ips(shadow: bytes) -> Iterator[Span]:
    """IPv4 and IPv6 addresses. Not versions (`v1.2.3.4`), not times."""
    for match in _IPV6.finditer(shadow):
        start, end = match.span()
        if (
            _at(shadow, start - 1) not in _WORD
            and _at(shadow, end) not in _WORD
            and _is_ip(shadow[start:end].rstrip(b":") or b"")
        ):
            yield start, start + len(shadow[start:end].rstrip(b":"))
        elif _is_ip(shadow[start:end]):
            yield start, end
    for match in _IPV4.finditer(shadow):
        start, end = match.span()
        version = shadow[max(0, start - 9) : start].lower().rstrip(b" :=/-")
        if (
            _is_ip(shadow[start:end])
            and not _in_number(shadow, start, end, b".")
            and not version.endswith((b"v", b"version"))
        ):
            yield start, end


def _is_ip(text: bytes) -> bool:
    try:
        ipaddress.ip_address(text.decode("latin-1"))
    except ValueError:
        return False
    return True


BUILT_IN: dict[str, Rule] = {
    "url_password": Rule(find_url_passwords, rb"://[^/@]*:[^/@]+@"),
    "jwt": Rule(find_jwts, rb"eyJ[0-9A-Za-z_-]{8}"),
    "api_key": Rule(find_api_keys, API_KEYS + rb"|(?i:bearer|basic)[ \t]|-----BEGIN "),
    "email": Rule(find_emails, rb"@[0-9A-Za-z\x80-\xff]"),
    "iban": Rule(find_ibans, b"(?:" + _COUNTRIES + rb")[0-9]{2}(?:[ -]?[0-9A-Z]){11}"),
    "card": Rule(find_cards, rb"[2-6](?:[ .\-+_]{0,2}[0-9]){12}"),
    "ssn": Rule(find_ssns, rb"[0-9]{3}-[0-9]{2}-[0-9]{4}|(?i:ssn|social security)"),
    "phone": Rule(
        find_phones,
        rb"\+[1-9][0-9 ().\-/]{7}|[2-9][0-9]{2}(?:-[0-9]{3}-|\.[0-9]{3}\.|\)[ .-]?[0-9]{3}[ .-]?)[0-9]{4}"
        rb"|(?i:phone|mobile|cell|tel|fax|call|sms|whatsapp)(?i:[ _-]?(?:number|no|nr))?[^0-9A-Za-z+]{1,6}[(0-9]",
    ),
    "ip": Rule(find_ips, rb"[0-9]\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:"),
}
