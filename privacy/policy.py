"""What an organization chose to do with personal data: JSON text -> a checked `Policy`, or a refusal with the path at fault."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
import re2
from msgspec import Meta

from topics.errors import Refused
from topics.invalid_fields import invalid_field, reason_and_path

RuleName = Literal["sensitive_key", "url_password", "jwt", "api_key", "email", "iban", "card", "ssn", "phone", "ip"]
RULES: tuple[RuleName, ...] = (
    "sensitive_key",
    "url_password",
    "jwt",
    "api_key",
    "email",
    "iban",
    "card",
    "ssn",
    "phone",
    "ip",
)
"""In the order in which they win where two find the same text."""

Strategy = Literal["redact", "mask", "hash"]
Setting = Literal["off", "redact", "mask", "hash"]

PATTERNS_MAX = 20
PATTERN_LENGTH_MAX = 200
PATTERN_INSTRUCTIONS_MAX = 1_000
KEYS_MAX = 100

KeyName = Annotated[str, Meta(min_length=2, max_length=64, pattern=r"[A-Za-z]")]


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One more thing to look for. `pattern` is RE2 syntax, which has no backtracking and so cannot be made slow."""

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,31}$", description="what findings are called and counted as")]
    pattern: Annotated[str, Meta(min_length=1, max_length=PATTERN_LENGTH_MAX, description="RE2 syntax")]
    strategy: Strategy | None = None


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to look for, and what to store instead. The default is: everything but IP addresses, redacted.

    `rules` changes single rules; `sensitive_key` can be given a strategy and not be switched off. `keys` are further names
    whose values are secrets, `keep_keys` names that are none in this organization, though they look it.
    """

    strategy: Strategy = "redact"
    rules: dict[RuleName, Setting] = {}
    patterns: Annotated[tuple[Pattern, ...], Meta(max_length=PATTERNS_MAX)] = ()
    keys: Annotated[tuple[KeyName, ...], Meta(max_length=KEYS_MAX)] = ()
    keep_keys: Annotated[tuple[KeyName, ...], Meta(max_length=KEYS_MAX)] = ()

    def strategy_of(self, rule: str) -> Setting:
        """What happens to the findings of a built-in rule or of a named pattern."""
        for pattern in self.patterns:
            if pattern.name == rule:
                return pattern.strategy or self.strategy
        unset: Setting = "off" if rule == "ip" else self.strategy
        return self.rules.get(rule, unset)  # type: ignore[call-overload, no-any-return]  # any other text is just absent


DEFAULT_POLICY = Policy()

_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[zA]|[\^$])")
_DECODER = msgspec.json.Decoder(Policy)


def read_policy(text: bytes | str) -> Policy:
    """JSON text -> a policy. Raises `Refused`: malformed_json, or invalid_field with a path like `patterns[2].pattern`."""
    try:
        policy = _DECODER.decode(text)
    except msgspec.ValidationError as exc:
        reason, path = reason_and_path(str(exc).replace("at `key` in `$", "at `$"))
        raise invalid_field(path, reason) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Refused(f"cannot read the policy: {exc}", code="malformed_json") from None
    check_policy(policy)
    return policy


def policy_text(policy: Policy) -> bytes:
    """The policy as JSON text that `read_policy` takes, the same text for the same policy."""
    return msgspec.json.encode(policy, order="deterministic")


def check_policy(policy: Policy) -> None:
    """What types do not say: `Refused` for a pattern that RE2 will not have, a name used twice, a rule that must stay on."""
    if policy.rules.get("sensitive_key") == "off":
        raise invalid_field(
            "rules.sensitive_key", "values of sensitive keys are always replaced; use keep_keys for single keys"
        )
    seen: set[str] = set(RULES)
    for i, pattern in enumerate(policy.patterns):
        if pattern.name in seen:
            raise invalid_field(f"patterns[{i}].name", f"the name {pattern.name} is taken")
        seen.add(pattern.name)
        compile_pattern(pattern.pattern, f"patterns[{i}].pattern")


def compile_pattern(pattern: str, path: str) -> Any:
    """An extra pattern, compiled. Raises `Refused` if RE2 cannot take it or it would match the empty text.

    RE2 works in time linear in the text; its bound on memory, and ours on instructions, keep the factor small: `(x{100}){10}`
    is short and yet a thousand states.
    """
    options = re2.Options()
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as exc:
        reason = exc.args[0] if exc.args else exc
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise invalid_field(path, f"RE2 cannot take the pattern: {reason}") from None
    if compiled.programsize > PATTERN_INSTRUCTIONS_MAX:
        raise invalid_field(
            path, f"the pattern makes {compiled.programsize} instructions, {PATTERN_INSTRUCTIONS_MAX} are allowed"
        )
    if compiled.search(b"") is not None or compiled.search(b" ") is not None:
        raise invalid_field(path, "the pattern matches the empty text or a space, and so everything")
    if _ANCHOR.search(pattern.replace("[^", "[")):
        # The prefilter looks at a whole column at once, where a text's own beginning and end cannot be seen.
        raise invalid_field(path, r"the pattern may not use the anchors ^ $ \A \z (write \^ or \$ for the characters)")
    return compiled
