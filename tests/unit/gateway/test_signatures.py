"""Signatures verified, against those that botocore makes and those of AWS's documentation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import create_request_object
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.gateway import signatures
from mlops.gateway.signatures import (
    ChunkSignatures,
    Fault,
    KeyPair,
    Refused,
    SignedRequest,
    check_claims,
    declared_payload,
    read_signature,
    verify,
)

KEYS = KeyPair("MLOPSKEY", "a+secret/of=ours")
HOST = "http://192.0.2.7:4566"


def signed(
    signer: type[SigV4Auth],
    service: str = "s3",
    *,
    method: str = "PUT",
    path: str = "/bucket/key",
    query: str = "",
    body: bytes = b"body",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> SignedRequest:
    """A request as botocore signs it and sends it."""
    body = b"" if issubclass(signer, SigV4QueryAuth) else body  # it would become a query
    request = create_request_object(
        {
            "method": method,
            "url": f"{HOST}{path}{'?' + query if query else ''}",
            "headers": dict(headers or {}),
            "body": body,
            "context": {},
        }
    )
    credentials = Credentials(KEYS.access_key_id, KEYS.secret_access_key)
    signer(credentials, service, "us-east-1", **more).add_auth(request)
    sent = request.prepare()
    parts = urlsplit(sent.url)
    return SignedRequest(
        method,
        parts.path,
        parts.query,
        {"host": parts.netloc, **{name.lower(): _text(v) for name, v in sent.headers.items()}},
    )


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def checked(request: SignedRequest, body: bytes = b"body", now: datetime | None = None) -> None:
    signature = read_signature(request)
    check_claims(signature, request, now or signature.moment)
    payload = declared_payload(signature, request)
    verify(signature, request, KEYS, payload or sha256(body).hexdigest())


def fault(request: SignedRequest, body: bytes = b"body", now: datetime | None = None) -> Fault:
    with pytest.raises(Refused) as caught:
        checked(request, body, now)
    return caught.value.fault


SIGNERS = [(SigV4Auth, "sagemaker"), (S3SigV4Auth, "s3"), (S3SigV4QueryAuth, "s3")]
text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)


class TestWhatBotocoreSigns:
    @given(
        signer=st.sampled_from(SIGNERS),
        segments=st.lists(text.filter(lambda part: "/" not in part), max_size=4),
        query=st.dictionaries(text.filter(bool), text, max_size=3),
        body=st.binary(max_size=40),
        header=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    )
    @settings(max_examples=150, deadline=None)
    def test_holds(
        self,
        signer: tuple[type[SigV4Auth], str],
        segments: list[str],
        query: dict[str, str],
        body: bytes,
        header: str,
    ) -> None:
        path = "/" + "/".join(quote(part, safe="~") for part in segments)
        asked = "&".join(
            f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}"
            for name, value in query.items()
            if not name.startswith("X-Amz")
        )
        request = signed(
            *signer, path=path, query=asked, body=body, headers={"x-amz-meta-a": header}
        )
        checked(request, body)

    def test_holds_for_dots_and_doubled_slashes(self) -> None:
        for path in ("/a/../b", "/a//b/", "/./a/..", "/a%2Fb//c"):
            checked(signed(SigV4Auth, "lambda", path=path))
        for path in ("/a/../b", "/a//b/", "/./a/..", "/a%2B~b//c"):
            checked(signed(S3SigV4Auth, path=path))

    def test_holds_presigned_for_another_service(self) -> None:
        request = signed(
            SigV4QueryAuth,
            "sts",
            method="GET",
            path="/",
            query="Action=GetCallerIdentity&Version=2011-06-15",
            body=b"",
            expires=60,
        )
        checked(request, b"")


REQUEST = signed(S3SigV4Auth, query="a=1&b=2", headers={"x-amz-meta-a": "one", "x-other": "o"})
SIGNED_AT = read_signature(REQUEST).moment


def changed(request: SignedRequest = REQUEST, **changes: Any) -> SignedRequest:
    headers = {**request.headers, **changes.pop("headers", {})}
    values = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
    }
    return SignedRequest(**{**values, **changes})


class TestTampering:
    @pytest.mark.parametrize(
        "request_",
        [
            changed(method="DELETE"),
            changed(path="/bucket/other"),
            changed(path="/bucket/key/"),
            changed(query="a=1&b=3"),
            changed(query="a=1&b=2&acl"),
            changed(headers={"x-amz-meta-a": "two"}),
            changed(headers={"host": "192.0.2.8:4566"}),
            changed(headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}),
            changed(headers={"x-amz-content-sha256": "0" * 64}),
        ],
    )
    def test_breaks_the_signature(self, request_: SignedRequest) -> None:
        assert fault(request_) is Fault.MISMATCH

    def test_a_body_that_is_not_declared_is_covered(self) -> None:
        request = signed(SigV4Auth, "sagemaker", method="POST", path="/")
        assert fault(request, b"other") is Fault.MISMATCH

    @pytest.mark.parametrize(
        "name", ["x-amz-target", "x_amz_target", "x-amzn-sagemaker-target-variant", "x-amz-acl"]
    )
    def test_a_header_that_matters_has_to_be_signed(self, name: str) -> None:
        assert fault(changed(headers={name: "x"})) is Fault.UNSIGNED_HEADERS

    def test_a_trace_may_be_added_on_the_way(self) -> None:
        checked(changed(headers={"x-amzn-trace-id": "Root=1"}))

    def test_a_wrong_secret(self) -> None:
        signature = read_signature(REQUEST)
        other = KeyPair(KEYS.access_key_id, "another")
        with pytest.raises(Refused) as caught:
            verify(signature, REQUEST, other, sha256(b"body").hexdigest())
        assert caught.value.fault is Fault.MISMATCH
        assert signature.value not in str(caught.value)


class TestTime:
    @pytest.mark.parametrize("minutes", [-16, 16])
    def test_a_skewed_clock(self, minutes: int) -> None:
        assert fault(REQUEST, now=SIGNED_AT + timedelta(minutes=minutes)) is Fault.SKEWED

    @pytest.mark.parametrize("minutes", [-14, 14])
    def test_a_clock_that_is_a_little_off(self, minutes: int) -> None:
        checked(REQUEST, now=SIGNED_AT + timedelta(minutes=minutes))

    def test_a_presigned_request_ends(self) -> None:
        request = signed(S3SigV4QueryAuth, expires=60)
        now = read_signature(request).moment
        checked(request, now=now + timedelta(seconds=60))
        assert fault(request, now=now + timedelta(seconds=61)) is Fault.EXPIRED
        assert fault(request, now=now - timedelta(minutes=16)) is Fault.EXPIRED

    @pytest.mark.parametrize("expires", [0, 604_801])
    def test_a_presigned_request_lives_a_week_at_most(self, expires: int) -> None:
        assert fault(signed(S3SigV4QueryAuth, expires=expires)) is Fault.INCOMPLETE

    def test_a_presigned_requests_time_is_signed(self) -> None:
        request = signed(S3SigV4QueryAuth, expires=60)
        longer = changed(request, query=request.query.replace("Expires=60", "Expires=600"))
        assert fault(longer) is Fault.MISMATCH


class TestUnreadable:
    def test_no_signature(self) -> None:
        assert fault(SignedRequest("GET", "/", "", {"host": "x"})) is Fault.MISSING

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("/aws4_request", ""),
            ("Signature=", "Signature=0"),
            ("host;", ""),
            ("Credential=", "Credential=/"),
        ],
    )
    def test_an_authorization_of_another_form(self, old: str, new: str) -> None:
        authorization = REQUEST.headers["authorization"].replace(old, new)
        assert fault(changed(headers={"authorization": authorization})) is Fault.INCOMPLETE

    def test_another_mechanism(self) -> None:
        for authorization in ("AWS key:signature", "Bearer x", "AWS4-ECDSA-P256-SHA256 x"):
            request = changed(headers={"authorization": authorization})
            assert fault(request) is Fault.OTHER_MECHANISM
        second = SignedRequest("GET", "/b/k", "AWSAccessKeyId=a&Signature=b&Expires=1", {})
        assert fault(second) is Fault.OTHER_MECHANISM

    @given(
        authorization=st.text(max_size=80) | st.from_regex(r"AWS4-HMAC-SHA256 .*", fullmatch=True),
        query=st.text(max_size=80) | st.from_regex(r"X-Amz-(Signature|Credential)=.*"),
        moment=st.text(max_size=17),
    )
    @settings(max_examples=200, deadline=None)
    def test_anything_is_refused_and_nothing_more(
        self, authorization: str, query: str, moment: str
    ) -> None:
        headers = {"authorization": authorization, "x-amz-date": moment, "host": "x"}
        with pytest.raises(Refused):
            checked(SignedRequest("GET", "/" + query, query, headers))

    @pytest.mark.parametrize("date", ["", "yesterday", "20200101T000000Z"])
    def test_a_date_that_does_not_fit(self, date: str) -> None:
        assert fault(changed(headers={"x-amz-date": date})) is Fault.INCOMPLETE

    def test_a_payload_that_nobody_knows(self) -> None:
        assert fault(changed(headers={"x-amz-content-sha256": "abc"})) is Fault.INCOMPLETE

    def test_a_secret_is_not_shown(self) -> None:
        assert KEYS.secret_access_key not in repr(KEYS)


# --- chunks: the examples of the S3 API Reference ------------------------------------------------

EXAMPLE = KeyPair("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SCOPE = "20130524/us-east-1/s3/aws4_request"
CHUNKS = (b"a" * 65536, b"a" * 1024, b"")
TRAILERS = {"x-amz-checksum-crc32c": "sOO8/Q=="}


def chunk_signatures(seed: str) -> ChunkSignatures:
    signature = signatures.Signature(
        EXAMPLE.access_key_id,
        SCOPE,
        "s3",
        datetime(2013, 5, 24, tzinfo=UTC),
        ("host",),
        seed,
        None,
    )
    return ChunkSignatures(signature, EXAMPLE)


def feed(checks: ChunkSignatures, values: list[str], chunks: tuple[bytes, ...] = CHUNKS) -> None:
    for value, chunk in zip(values, chunks, strict=True):
        checks.begin(f"chunk-signature={value}")
        for start in range(0, len(chunk), 1000):
            checks.update(chunk[start : start + 1000])
        checks.end()


SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNED = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
]
TRAILED_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILED = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
]
TRAILER = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


class TestChunks:
    def test_the_documented_example_holds(self) -> None:
        feed(chunk_signatures(SEED), SIGNED)

    def test_the_documented_example_with_trailers_holds(self) -> None:
        checks = chunk_signatures(TRAILED_SEED)
        feed(checks, TRAILED)
        checks.end_trailers({**TRAILERS, "x-amz-trailer-signature": TRAILER})

    @pytest.mark.parametrize(
        "trailers",
        [
            TRAILERS,
            {**TRAILERS, "x-amz-trailer-signature": "0" * 64},
            {"x-amz-checksum-crc32c": "AAAAAA==", "x-amz-trailer-signature": TRAILER},
            {"x-amz-trailer-signature": TRAILER},
        ],
    )
    def test_other_trailers_do_not(self, trailers: dict[str, str]) -> None:
        checks = chunk_signatures(TRAILED_SEED)
        feed(checks, TRAILED)
        with pytest.raises(Refused):
            checks.end_trailers(trailers)

    def test_other_bytes_order_or_seed_do_not(self) -> None:
        with pytest.raises(Refused):
            feed(chunk_signatures(SEED), SIGNED, (b"b" * 65536, *CHUNKS[1:]))
        with pytest.raises(Refused):
            feed(chunk_signatures(SEED), [SIGNED[1], SIGNED[0], SIGNED[2]])
        with pytest.raises(Refused):
            feed(chunk_signatures(SEED[::-1]), SIGNED)
        with pytest.raises(Refused):
            feed(chunk_signatures(SEED), [SIGNED[2]], (b"",))  # all chunks left out

    def test_a_chunk_without_a_signature_does_not(self) -> None:
        with pytest.raises(Refused):
            chunk_signatures(SEED).begin("")
