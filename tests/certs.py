"""Certificates for tests, made by the openssl program: a CA, servers and clients of it.

    ca = certs.authority()                           # ca.cert: for caFile
    server = ca.issue("a.test", sans=["DNS:a.test", "DNS:*.a.test", "IP:127.0.0.1"])
    client = ca.issue("client", sans=["URI:spiffe://td/ns/web"])
    old = ca.issue("a.test", valid_from=-7200, valid_until=-3600)
    server.cert, server.key                          # names of PEM files

Each is made once a run, and asked again is the same: nobody may write to the files (`copy_to`).
All go when the run ends."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import time

HOUR = 3600
DAY = 24 * HOUR

CONFIG = """
[ca]
default_ca = it
[it]
database = {dir}/index.txt
new_certs_dir = {dir}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = none
[any]
commonName = supplied
[req]
distinguished_name = empty
[empty]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{extra}
"""


@functools.lru_cache(maxsize=None)
def _directory():
    path = tempfile.mkdtemp(prefix="sluice-certs-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _openssl(*args):
    p = subprocess.run(("openssl",) + args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, check=False)
    assert p.returncode == 0, f"openssl {' '.join(args)}:\n{p.stdout}"


def _key_args(kind):
    if kind.startswith("rsa"):
        return ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind[3:] or 2048}"]
    return ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{kind}"]


def _when(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))


class Pair:
    """A certificate (with its chain, where an intermediate signed it) and its key: two files."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def copy_to(self, directory, name="tls"):
        """The pair as NAME.crt and NAME.key there, each put in place by a rename."""
        copies = []
        for source, suffix in ((self.cert, "crt"), (self.key, "key")):
            path = os.path.join(directory, f"{name}.{suffix}")
            shutil.copy(source, path + ".new")
            os.rename(path + ".new", path)
            copies.append(path)
        return Pair(*copies)

    def yaml(self):
        """As an element of `certificates`."""
        return f"{{certFile: {self.cert}, keyFile: {self.key}}}"


class Authority(Pair):
    def __init__(self, name, parent=None):
        self.dir = tempfile.mkdtemp(prefix="ca-", dir=_directory())
        with open(os.path.join(self.dir, "index.txt"), "w"):
            pass
        super().__init__(os.path.join(self.dir, "ca.pem"), os.path.join(self.dir, "ca.key"))
        self.chain = ""  # what has to be sent behind a leaf
        self._issued = {}
        if parent:
            signed = parent._sign(name, "prime256v1", "authority", "", -DAY, 365 * DAY)
            shutil.copy(signed.cert, self.cert)
            shutil.copy(signed.key, self.key)
            with open(self.cert) as f:
                self.chain = f.read() + parent.chain
        else:
            signed = self._sign(name, "prime256v1", "authority", "", -DAY, 3650 * DAY, itself=True)
            shutil.copy(signed.cert, self.cert)
            shutil.copy(signed.key, self.key)

    def intermediate(self, name="intermediate"):
        """An authority below this one; what it issues carries it along."""
        return Authority(name, self)

    def issue(self, name, sans=(), **how):
        """A pair for `name` (its CN); sans: "DNS:a", "IP:::1", "URI:spiffe://td/x"; none: DNS:name.
        valid_from, valid_until: seconds from now; key: prime256v1, secp384r1, rsa2048, rsa1024;
        usage: "serverAuth", "clientAuth", "" (both)."""
        how["sans"] = tuple(sans)
        made = (name,) + tuple(sorted(how.items()))
        if made not in self._issued:
            self._issued[made] = self._issue(name, **how)
        return self._issued[made]

    def _issue(self, name, sans=(), valid_from=-DAY, valid_until=90 * DAY, key="prime256v1",
               usage=""):
        extra = "subjectAltName = " + ",".join(sans or (f"DNS:{name}",))
        if usage:
            extra += f"\nextendedKeyUsage = {usage}"
        pair = self._sign(name, key, "leaf", extra, valid_from, valid_until)
        with open(pair.cert, "a") as f:
            f.write(self.chain)
        return pair

    def _sign(self, name, key, section, extra, valid_from, valid_until, itself=False):
        place = tempfile.mkdtemp(dir=self.dir)
        conf, csr, pair = (os.path.join(place, n) for n in ("conf", "csr", "tls"))
        pair = Pair(pair + ".crt", pair + ".key")
        with open(conf, "w") as f:
            f.write(CONFIG.format(dir=self.dir, extra=extra))
        _openssl("genpkey", "-out", pair.key, *_key_args(key))
        _openssl("req", "-new", "-batch", "-config", conf, "-key", pair.key, "-subj",
                 "/CN=" + name.replace("/", "\\/"), "-out", csr)
        signer = ["-selfsign", "-keyfile", pair.key] if itself else \
                 ["-cert", self.cert, "-keyfile", self.key]
        _openssl("ca", "-batch", "-notext", "-config", conf, "-extensions", section, "-in", csr,
                 "-out", pair.cert, "-startdate", _when(valid_from), "-enddate",
                 _when(valid_until), *signer)
        return pair


@functools.lru_cache(maxsize=None)
def authority(name="Test CA"):
    return Authority(name)
