"""Passwords as scrypt hashes (RFC 7914), written as `$scrypt$ln=15,r=8,p=3$SALT$HASH` (the PHC string format)."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from typing import Final

# 32 MiB and some 0.2 s a try: one of the equal choices in OWASP's password storage guide.
LN: Final = 15
P: Final = 3
R: Final = 8
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
# What a file may ask for: not less than is safe, not more than a server should spend on a stranger.
LN_RANGE: Final = range(14, 18)
P_RANGE: Final = range(1, 5)

_WRITTEN: Final = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=8,p=(\d)\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A password's hash; it is not shown when this is printed."""

    ln: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"$scrypt$ln={self.ln},r={R},p={self.p}${_text(self.salt)}${_text(self.digest)}"

    def matches(self, password: str) -> bool:
        """In a time that does not depend on how much of it is right."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.ln, self.p), self.digest)


def hashed(password: str) -> Scrypt:
    salt = secrets.token_bytes(SALT_BYTES)
    return Scrypt(LN, P, salt, _scrypt(password, salt, LN, P))


def parse_scrypt(text: str) -> Scrypt:
    """ValueError says what is wrong, without the hash."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError("the hash is not $scrypt$ln=..,r=8,p=..$SALT$HASH")
    ln, p = int(found[1]), int(found[2])
    if ln not in LN_RANGE or p not in P_RANGE:
        raise ValueError(f"the hash's cost is ln={ln}, p={p}; ln should be 14 to 17 and p 1 to 4")
    try:
        return Scrypt(ln, p, _bytes(found[3]), _bytes(found[4]))
    except binascii.Error:
        raise ValueError("the hash is not base64") from None


def _scrypt(password: str, salt: bytes, ln: int, p: int) -> bytes:
    # The same letters typed on another system may come as other code points.
    typed = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(typed, salt=salt, n=1 << ln, r=R, p=p, maxmem=256 * R << ln, dklen=HASH_BYTES)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


# Stands in for a user who is not there: a strange name costs the same time as a wrong password.
NOBODY: Final = Scrypt(LN, P, secrets.token_bytes(SALT_BYTES), secrets.token_bytes(HASH_BYTES))
