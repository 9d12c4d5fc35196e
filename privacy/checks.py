"""Digits and letters -> is this a real card number, IBAN, US social security number or phone number.

Everything here takes the bare characters, separators removed. Sources: ISO/IEC 7812 (IIN, Luhn), ISO 13616 (IBAN registry), SSA's
rules for numbers that are never given out, ITU-T E.164 (country codes), NANP.
"""

from __future__ import annotations

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IIN: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    # first number, last number, lengths; the numbers' own length says how many digits are looked at.
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (6011, 6011, (16, 19)),  # Discover
    (644, 649, (16, 19)),
    (65, 65, (16, 19)),
    (300, 305, (14, 16)),  # Diners Club
    (3095, 3095, (14, 16)),
    (36, 36, (14, 16)),
    (38, 39, (14, 16)),
    (3528, 3589, (16, 19)),  # JCB
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (2200, 2204, (16,)),  # Mir
    (5018, 5018, (16, 18, 19)),  # Maestro
    (5020, 5020, (16, 18, 19)),
    (5038, 5038, (16, 18, 19)),
    (5893, 5893, (16, 18, 19)),
    (6304, 6304, (16, 18, 19)),
    (6759, 6759, (16, 18, 19)),
    (6761, 6763, (16, 18, 19)),
)
CARD_LENGTHS = range(13, 20)


def is_card(digits: bytes) -> bool:
    """A payment card's number: issued by a known network, of its length, with a right check digit."""
    return _has_issuer(digits) and digits.strip(digits[:1]) != b"" and _luhn(digits)


def _has_issuer(digits: bytes) -> bool:
    size = len(digits)
    return any(low <= int(digits[: len(str(low))]) <= high for low, high, sizes in _IIN if size in sizes)


def _luhn(digits: bytes) -> bool:
    total = sum(digit - 48 for digit in digits[-1::-2]) + sum(_DOUBLED[digit - 48] for digit in digits[-2::-2])
    return total % 10 == 0


IBAN_LENGTHS: dict[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27,
    "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def is_iban(text: bytes) -> bool:
    """Upper case, no spaces: the right length for its country, and modulo 97 is 1."""
    if len(text) != IBAN_LENGTHS.get(text[:2].decode("latin-1")):
        return False
    return int("".join(str(int(chr(c), 36)) for c in text[4:] + text[:4])) % 97 == 1


def is_ssn(digits: bytes) -> bool:
    """Nine digits that the Social Security Administration could have given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return len(digits) == 9 and area not in (b"000", b"666") and area < b"900" and group != b"00" and serial != b"0000"


_OF_ONE_OR_TWO = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 "
    "90 91 92 93 94 95 98"
)
_OF_THREE = "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99"
"""The first two digits of country codes with three."""
_NOBODYS = "210 214 215 217 219 259 384 422 851 854 857 858 859 969 978 990 991 997 999"
_COUNTRY_CODES = frozenset(_OF_ONE_OR_TWO.split())
_COUNTRY_TENS = frozenset(_OF_THREE.split())
_UNASSIGNED = frozenset(_NOBODYS.split())


def is_international(digits: bytes) -> bool:
    """The digits behind a plus sign: a country code that exists and 8 to 15 digits; eleven for the numbering plan of +1."""
    text = digits.decode("latin-1")
    if text[:1] == "1":
        return len(text) == 11 and is_north_american(digits[1:])
    return (
        8 <= len(text) <= 15
        and text[:3] not in _UNASSIGNED
        and (text[:1] in _COUNTRY_CODES or text[:2] in _COUNTRY_CODES | _COUNTRY_TENS)
    )


def is_north_american(digits: bytes) -> bool:
    """Ten digits whose area code can be one: 2 to 9 first, and not x00 or x11.

    The exchange is not looked at: 555-123-4567 could not be dialled, and people write it all the same.
    """
    return len(digits) == 10 and digits[:1] >= b"2" and digits[1:3] not in (b"00", b"11")
