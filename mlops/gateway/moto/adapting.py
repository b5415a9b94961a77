"""moto held still: the same request at the same moment with the same seed comes to the same.

moto draws its ids from one generator (``moto.moto_api._internal.mock_random``), which can be
seeded, and nearly all its moments from ``moto.core.utils.utcnow``. What else it draws elsewhere,
it is given from here: KMS its key material, Secrets Manager its clock. All of it is inside moto's
own modules, under names that those look up when they run; boto3, botocore, ``os`` and ``datetime``
stay as they are. (To import moto registers a handler with botocore that does nothing before
``mock_aws`` is started. Nobody starts it here; it is left there for those tests that do.)

Written for moto 5.2; the tests of kill -9 in ``tests/integration/gateway/test_moto.py`` fail where
another moto has other names.
"""

from __future__ import annotations

import datetime as real_datetime
import os as real_os
import threading
import time as real_time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any

_GENESIS = datetime(2017, 11, 29, tzinfo=UTC)
"""The moment at which every backend begins with what AWS has before anybody does anything."""


ONE_AT_A_TIME = threading.RLock()
"""Of the process, for whatever calls or imports moto: it is not made for several threads, and two
that import parts of it at once may each find the other's half done."""


@cache
def still() -> Still:
    """moto, imported at the first call. Call it with ``ONE_AT_A_TIME`` held."""
    return Still()


class HeldClock:
    """The moment that moto takes for the present: the real one, unless it is held."""

    def __init__(self) -> None:
        self._held: datetime | None = None

    def now(self) -> datetime:
        return self._held or datetime.now(UTC)

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        before, self._held = self._held, moment
        try:
            yield
        finally:
            self._held = before


class Still:
    """moto, imported, and adapted for as long as a request of ours is carried out.

    Outside of `at` it is as it was: a test that has a gateway in its own process may use moto, too.
    One for each process; `at` is for one thread at a time.
    """

    def __init__(self) -> None:
        self._random: Any = module("moto.moto_api._internal").mock_random
        self._clock = HeldClock()
        self._places = tuple(self._adapted_places())
        self._settings: dict[str, Any] = module("moto.core.config").default_user_config["iam"]

    @contextmanager
    def at(self, moment: datetime, seed: int) -> Iterator[None]:
        """As it is at `moment`, with ids drawn from `seed`."""
        state = self._random.getstate()
        originals = [getattr(owner, name) for owner, name, _ in self._places]
        settings = dict(self._settings)
        try:
            for owner, name, adapted in self._places:
                setattr(owner, name, adapted)
            # Else none of AWS's own policies could be attached to a role.
            self._settings["load_aws_managed_policies"] = True
            self._random.seed(seed)
            with self._clock.at(moment):
                yield
        finally:
            self._settings.update(settings)
            for (owner, name, _), original in zip(self._places, originals, strict=True):
                setattr(owner, name, original)
            self._random.setstate(state)

    def _adapted_places(self) -> Iterator[tuple[Any, str, Any]]:
        """What is looked up in moto while it runs: the owner, the name, what stands there."""
        yield module("moto.core.utils"), "datetime", _HeldDatetime(self._clock)
        yield module("moto.secretsmanager.models"), "time", _HeldTime(self._clock)
        utils = module("moto.kms.utils")
        yield utils, "os", _Entropy(self._random)
        yield (
            module("moto.kms.models"),
            "generate_private_key",
            _PrivateKeys(self._random, utils).make,
        )
        backends = module("moto.core.base_backend").AccountSpecificBackend
        yield backends, "__getitem__", self._begin_alike(backends.__getitem__)

    def _begin_alike(self, original: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
        """Have a backend begin the same, whichever request it is that first needs it."""
        random, clock = self._random, self._clock

        def get(backends: Any, region: str) -> Any:
            name = "aws" if region == "global" else region
            if dict.__contains__(backends, name):
                return dict.__getitem__(backends, name)
            state = random.getstate()
            random.seed(f"{backends.service_name} {backends.account_id} {name}")
            try:
                with clock.at(_GENESIS):
                    return original(backends, region)
            finally:
                random.setstate(state)

        return get


def module(name: str) -> Any:
    """One of moto's modules: untyped here, so that no type checker reads all of moto."""
    return import_module(name)


class _HeldDatetime:
    """The module ``datetime`` as moto's ``utcnow`` sees it."""

    def __init__(self, clock: HeldClock) -> None:
        class Held(datetime):
            @classmethod
            def now(cls, tz: real_datetime.tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.now().astimezone(tz)

        self.datetime = Held

    def __getattr__(self, name: str) -> Any:
        return getattr(real_datetime, name)


class _HeldTime:
    """The module ``time`` as Secrets Manager sees it."""

    def __init__(self, clock: HeldClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.now().timestamp()

    def __getattr__(self, name: str) -> Any:
        return getattr(real_time, name)


class _Entropy:
    """The module ``os`` as KMS sees it: what it makes a key of has to be the same another time."""

    def __init__(self, random: Any) -> None:
        self._random = random

    def urandom(self, count: int) -> bytes:
        return bytes(self._random.getrandbits(8) for _ in range(count))

    def __getattr__(self, name: str) -> Any:
        return getattr(real_os, name)


class _PrivateKeys:
    """Private keys of KMS: none for a symmetric key, for which moto makes one of RSA all the same.

    A key of an elliptic curve is a number, which can be drawn; RSA's cannot be made the same twice
    by any library here, so such keys are refused.
    """

    def __init__(self, random: Any, utils: Any) -> None:
        self._random = random
        self._utils = utils
        self._errors = module("moto.core.exceptions")

    def make(self, spec: str) -> Any:
        if spec == "SYMMETRIC_DEFAULT" or spec.startswith("HMAC_"):
            return self
        if spec not in self._utils.KeySpec.ecc_key_specs():
            raise self._unsupported(
                f"The local gateway makes no {spec} keys: take SYMMETRIC_DEFAULT, HMAC_… or ECC_…"
            )
        made = self._utils.ECDSAPrivateKey(spec)
        curve = made.private_key.curve
        # One bit less than the curve's order has: never zero, never too large.
        number = self._random.getrandbits(curve.key_size - 1) | 1
        made.private_key = self._utils.ec.derive_private_key(number, curve)
        return made

    def public_key(self) -> bytes:
        raise self._unsupported("A symmetric key has no public key")

    def _unsupported(self, message: str) -> Exception:
        error: Exception = self._errors.JsonRESTError("UnsupportedOperationException", message)
        return error
