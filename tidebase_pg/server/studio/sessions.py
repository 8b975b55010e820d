"""Who sits before the browser: a sealed cookie, and a token in each form.

The cookie holds the key that was given at login, so each request is judged by it as it stands
then: a key that was revoked is logged out. It is sealed, so it cannot be read or made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

COOKIE: Final = "tide_studio"
NOTE: Final = "tide_studio_note"
THEME: Final = "tide_studio_theme"
LIFETIME: Final = 12 * 3600
"""Seconds after which a login ends."""
_NONCE: Final = 16
_TAG: Final = 32


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that logged in."""

    session_id: str
    token: str | None
    """The key it gave; None where the door is open or a proxy says who it is."""
    name: str | None
    """Who it says it is: only where many share a key."""
    ends_at: int

    @staticmethod
    def begin(token: str | None, name: str | None = None) -> Session:
        return Session(secrets.token_hex(16), token, name, int(time.time()) + LIFETIME)


class Seal:
    """Seals small documents for a cookie: encrypted and signed under one secret.

    The key stream and the tag are HMAC-SHA256 under two keys drawn from the secret.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = hmac.digest(secret, b"tide studio cipher", "sha256")
        self._signer = hmac.digest(secret, b"tide studio signer", "sha256")

    def seal(self, purpose: str, document: Any) -> str:
        plain = json.dumps(document).encode()
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._mask(nonce, plain)
        tag = self._tag(purpose, nonce + hidden)
        return base64.urlsafe_b64encode(nonce + hidden + tag).rstrip(b"=").decode()

    def open(self, purpose: str, sealed: str) -> Any:
        """The document, or None when it was not sealed here for this purpose."""
        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) < _NONCE + _TAG:
            return None
        body, tag = raw[:-_TAG], raw[-_TAG:]
        if not hmac.compare_digest(tag, self._tag(purpose, body)):
            return None
        return json.loads(self._mask(body[:_NONCE], body[_NONCE:]))

    def sign(self, purpose: str, text: str) -> str:
        """A short proof that a text came from here."""
        return self._tag(purpose, text.encode()).hex()[:32]

    def _tag(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._signer, purpose.encode() + b"\0" + body, "sha256")

    def _mask(self, nonce: bytes, text: bytes) -> bytes:
        stream = bytearray()
        while len(stream) < len(text):
            block = nonce + len(stream).to_bytes(8, "big")
            stream += hmac.digest(self._cipher, block, hashlib.sha256)
        return bytes(a ^ b for a, b in zip(text, stream, strict=False))


class Sessions:
    """Reads and writes the cookies of browsers."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret.encode())

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None when there is none, or it has ended."""
        document = self._seal.open("session", cookie) if cookie else None
        if document is None:
            return None
        session = Session(**document)
        return session if session.ends_at > time.time() else None

    def write(self, session: Session) -> str:
        return self._seal.seal("session", asdict(session))

    def form_token(self, session: Session) -> str:
        """What each form of this session carries, so that no other site can post one."""
        return self._seal.sign("form", session.session_id)

    def is_form_token(self, session: Session, given: str) -> bool:
        return hmac.compare_digest(self.form_token(session).encode(), given.encode())

    def seal_note(self, kind: str, text: str) -> str:
        return self._seal.seal("note", [kind, text[:600]])

    def read_note(self, cookie: str | None) -> tuple[str, str] | None:
        found = self._seal.open("note", cookie) if cookie else None
        return (found[0], found[1]) if found else None

    def seal_state(self, session: Session, document: Any) -> str:
        """What a form carries on from page to page; it opens in the same session only."""
        return self._seal.seal(f"state {session.session_id}", document)

    def open_state(self, session: Session, sealed: str) -> Any:
        return self._seal.open(f"state {session.session_id}", sealed)
