"""The password of `docker login`: valid for twelve hours, signed and not stored.

It is signed by a key of the state folder, so a login survives the gateway. Whoever reaches the
gateway may ask for a password, as for everything else; that it is asked for at all lets clients
do here what they do with ECR.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops.ports import Clock

USER = "AWS"
LIFETIME = timedelta(hours=12)  # AuthorizationData in botocore's model
LAYER_LIFETIME = timedelta(hours=1)
_KEY_BYTES = 32


class Credentials:
    """Passwords and layer addresses, made and checked. Thread-safe."""

    def __init__(self, key_file: Path, clock: Clock) -> None:
        """`key_file` is made with the first password, readable by its owner alone."""
        self._file = key_file
        self._clock = clock
        self._key: bytes | None = None
        self._lock = threading.Lock()

    def password(self) -> tuple[str, datetime]:
        """A new password, and when it expires."""
        expires = self._clock.now() + LIFETIME
        return self._signed("login", expires), expires

    def accepts(self, header: str) -> bool:
        """Whether an Authorization header has a password of ours that has not expired."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return user == USER and self._is_signed("login", password)

    def layer_key(self, repository: str, digest: str) -> str:
        """What lets one layer be fetched without a password."""
        return self._signed(f"{repository}@{digest}", self._clock.now() + LAYER_LIFETIME)

    def opens_layer(self, key: str, repository: str, digest: str) -> bool:
        return self._is_signed(f"{repository}@{digest}", key)

    def _signed(self, purpose: str, expires: datetime) -> str:
        until = int(expires.timestamp())
        return f"{until}.{self._signature(purpose, until)}"

    def _is_signed(self, purpose: str, text: str) -> bool:
        until, _, signature = text.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12):
            return False
        if not hmac.compare_digest(
            signature.encode(), self._signature(purpose, int(until)).encode()
        ):
            return False
        return datetime.fromtimestamp(int(until), UTC) > self._clock.now()

    def _signature(self, purpose: str, until: int) -> str:
        return hmac.new(self._secret(), f"{purpose} {until}".encode(), "sha256").hexdigest()

    def _secret(self) -> bytes:
        with self._lock:
            if self._key is None:
                self._key = _read(self._file) or _made(self._file)
            return self._key


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _made(file: Path) -> bytes:
    key = secrets.token_bytes(_KEY_BYTES)
    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_suffix(f".{secrets.token_hex(4)}")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(key)
    staged.rename(file)
    return key
