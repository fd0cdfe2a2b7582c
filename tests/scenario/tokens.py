"""Tokens (JWT) for tests, signed by the openssl program, and the JWK sets that they are verified
with."""

import base64
import functools
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import time

ISSUER = "https://issuer.test"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*args, data=None):
    return subprocess.run(("openssl",) + args, input=data, capture_output=True, check=True).stdout


class Key:
    """kind: RS256, ES256, EdDSA or HS256."""

    def __init__(self, kind, kid):
        self.kind, self.kid = kind, kid
        if kind == "HS256":
            self.secret = os.urandom(32)
            return
        args = {"RS256": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
                "ES256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
                "EdDSA": ("ED25519",)}[kind]
        self.pem = _openssl("genpkey", "-algorithm", *args)
        self.spki = _openssl("pkey", "-pubout", "-outform", "DER", data=self.pem)

    def jwk(self):
        out = {"kid": self.kid, "alg": self.kind, "use": "sig"}
        if self.kind == "HS256":
            return {**out, "kty": "oct", "k": base64url(self.secret)}
        if self.kind == "ES256":
            return {**out, "kty": "EC", "crv": "P-256", "x": base64url(self.spki[-64:-32]),
                    "y": base64url(self.spki[-32:])}
        if self.kind == "EdDSA":
            return {**out, "kty": "OKP", "crv": "Ed25519", "x": base64url(self.spki[-32:])}
        modulus = _openssl("rsa", "-noout", "-modulus", data=self.pem).decode()
        return {**out, "kty": "RSA", "e": "AQAB",
                "n": base64url(bytes.fromhex(modulus.strip().partition("=")[2]))}

    def sign(self, data):
        if self.kind == "HS256":
            return hmac.digest(self.secret, data, hashlib.sha256)
        with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as text:
            key.write(self.pem)
            key.flush()
            text.write(data)
            text.flush()
            if self.kind == "EdDSA":
                return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", key.name, "-in", text.name)
            signature = _openssl("dgst", "-sha256", "-sign", key.name, text.name)
        return signature if self.kind == "RS256" else flat(signature)

    def token(self, header=None, **claims):
        """A good one, but for what is given; a claim that is None is left out."""
        claims = {"iss": ISSUER, "aud": "app", "sub": "user", "exp": int(time.time()) + 600,
                  **claims}
        claims = {k: v for k, v in claims.items() if v is not None}
        head = {"alg": self.kind, "kid": self.kid, **(header or {})}
        signed = ".".join(base64url(json.dumps(x).encode()) for x in (head, claims)).encode()
        return f"{signed.decode()}.{base64url(self.sign(signed))}"


def flat(der):
    """An ECDSA signature in DER as r and s side by side, 32 bytes each."""
    n = der[3]
    r, s = der[4:4 + n], der[6 + n:]
    return b"".join(x.lstrip(b"\0").rjust(32, b"\0") for x in (r, s))


@functools.lru_cache(maxsize=None)
def key(kind="ES256", kid="one"):
    """Made once a run."""
    return Key(kind, kid)


def write_set(path, *keys):
    """In one step, as Kubernetes renews what it mounts."""
    with open(path + ".new", "w") as f:
        json.dump({"keys": [k.jwk() for k in keys]}, f)
    os.rename(path + ".new", path)


def bearer(token):
    return [("Authorization", f"Bearer {token}")]
