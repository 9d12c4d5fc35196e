"""The name of a field -> whether its value is a secret, however the name is written: snake, kebab, camel, UPPER or dotted.

A name is sensitive if it is, or ends with, one of these words: `db_password`, `x-api-key`, `clientSecret`. So `token_count`,
`author` and `compass` are not.
"""

from __future__ import annotations

import re

from privacy.strategies import TOKEN

_WORDS = (
    "password passwords passwd passphrase passcode pwd pass secret secrets token authorization auth credential credentials "
    "cookie cookies jwt bearer otp totp cvv cvc cvv2 ssn iban pin"
)
_PHRASES = (
    "api key|access key|secret key|private key|signing key|encryption key|account key|session key|master key|ssh key|auth key|"
    "shared key|connection string|card number|card num|credit card|social security number|password hash"
)
_ENDINGS = tuple(tuple(words.split()) for words in (*_WORDS.split(), *_PHRASES.split("|")))
_LONG_ENDINGS = (
    *(
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "secret",
        "secrets",
        "token",
        "authorization",
    ),
    *("credential", "credentials", "cookie", "cookies"),
    *_PHRASES.replace(" ", "").split("|"),
)
"""Words that nothing else ends with, so that they count without a separator too: `dbpassword`, `APIKEY`."""

_SEGMENT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_NAMES_KEPT = 10_000


class KeyNames:
    """The built-in names, more of an organization's own, less those that it keeps. Answers are remembered, boundedly."""

    def __init__(self, extra: tuple[str, ...] = (), keep: tuple[str, ...] = ()) -> None:
        self._extra = tuple(_segments(name) for name in extra)
        self._endings = frozenset((*_ENDINGS, *self._extra))
        self._longest = max(map(len, self._endings))
        self._extra_joined = frozenset("".join(segments) for segments in self._extra)
        self._keep = frozenset("".join(_segments(name)) for name in keep)
        self._known: dict[str, bool] = {}

    def is_sensitive(self, name: str) -> bool:
        """Whether what stands under this name is a secret."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _NAMES_KEPT:
                self._known.clear()
            known = self._known[name] = self._judge(TOKEN.sub(" x ", name)[-200:])
        return known

    def _judge(self, name: str) -> bool:
        segments = _segments(name)
        joined = "".join(segments)
        if not segments or joined in self._keep:
            return False
        for whole in (segments, _without_number(segments)):
            for size in range(1, self._longest + 1):
                if whole[-size:] in self._endings:
                    return True
        bare = joined.rstrip("0123456789")
        return bare.endswith(_LONG_ENDINGS) or joined in self._extra_joined

    def search_pattern(self) -> str:
        """RE2 syntax for the end of any such name. It finds more than `is_sensitive` says yes to, never less."""
        separator = r"[^A-Za-z0-9\"'=&]{0,3}"
        endings = sorted({separator.join(map(re.escape, words)) for words in self._endings})
        return f"(?i:{'|'.join(endings)})[-_. ]{{0,2}}[0-9]{{0,4}}[-_. ]{{0,2}}"


def _segments(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in _SEGMENT.findall(name))


def _without_number(segments: tuple[str, ...]) -> tuple[str, ...]:
    """`password_2` is a password."""
    return segments[:-1] if len(segments) > 1 and segments[-1].isdigit() else segments
