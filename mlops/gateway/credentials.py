"""The access key of a state folder, for a gateway that listens beyond this machine.

It is made once and stays: clients elsewhere keep it. Whoever may read the state folder as its owner
may read it; nothing but `mlops up` and this file ever says the secret. Jobs, servers and functions
have another one that follows from it, and so has who assumes a role.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
import string
from pathlib import Path

from mlops.errors import EnvironmentLacks
from mlops.gateway.address import state_folder
from mlops.gateway.signatures import KeyPair

CREDENTIALS_FILE = "gateway.credentials.json"

_ALPHABET = string.ascii_uppercase + "234567"
_SECRET_BYTES = 30


def gateway_keys(store: Path) -> KeyPair:
    """The key of a state folder, made where there is none.

    Raises:
        DiskFull, EnvironmentLacks: the file cannot be written or read.
    """
    file = store / CREDENTIALS_FILE
    with state_folder(store):
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _make(file)
        file.chmod(0o600)
    try:
        document = json.loads(text)
        return KeyPair(str(document["access_key_id"]), str(document["secret_access_key"]))
    except (ValueError, KeyError, TypeError):
        raise EnvironmentLacks(
            "The gateway's credentials cannot be read",
            where=str(file),
            next_step="delete the file: the next gateway makes others",
        ) from None


def job_keys(keys: KeyPair) -> KeyPair:
    """The key of this machine's own containers: the same for every gateway of the state folder."""

    def derived(purpose: bytes) -> bytes:
        return hmac.digest(keys.secret_access_key.encode(), purpose, "sha256")

    number = base64.b32encode(derived(b"the jobs' key"))[:12].decode()
    secret = base64.urlsafe_b64encode(derived(b"the jobs' secret")).decode().rstrip("=")
    return KeyPair(f"MLOPSJOB{number}", secret)


def _make(file: Path) -> KeyPair:
    made = KeyPair(
        "MLOPS" + "".join(secrets.choice(_ALPHABET) for _ in range(15)),
        secrets.token_urlsafe(_SECRET_BYTES),
    )
    document = {
        "access_key_id": made.access_key_id,
        "secret_access_key": made.secret_access_key,
    }
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(document, stream)
    temporary.replace(file)
    return made
