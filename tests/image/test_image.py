"""The container image that `make image` writes: an OCI archive that holds together, runs without
root and without a writable root, has nothing in it that it does not need, and is the same bytes
when it is built again elsewhere."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
ARCHIVE = os.path.join(BUILD, "image/sluice.tar")

sys.path.insert(0, os.path.join(ROOT, "tests/scenario"))
import tls  # noqa: E402
from releases import Registry, cleanup  # noqa: E402
from wire import free_port, wait_for  # noqa: E402

BASE = {
    "version": 1,
    "lifecycle": {"noticePeriod": "0s", "drainTimeout": "2s", "lastCall": "500ms", "appCleanup": "0s"},
    "admin": {"address": "off", "socket": "/run/sluice/admin.sock"},
}

# The image as a container engine runs it: the root read-only, /run/sluice in memory, /proc and
# /dev, an id that is nobody's; the network of whoever calls.
RUN = """\
set -eu
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o mode=1777 tmpfs "$1/run/sluice"
for directory in proc dev; do mount --rbind "/$directory" "$1/$directory"; done
shift
exec chroot "$@"
"""


@pytest.fixture(scope="module")
def archive():
    """(blobs by digest, index.json, the order of the names)"""
    with tarfile.open(ARCHIVE) as tar:
        names = tar.getnames()
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json"))
    blobs = {name.replace("blobs/sha256/", "sha256:"): data for name, data in files.items()}
    return blobs, index, names


@pytest.fixture(scope="module")
def layer(archive):
    """The one layer, unpacked."""
    blobs, index, _ = archive
    manifest = json.loads(blobs[index["manifests"][0]["digest"]])
    return gzip.decompress(blobs[manifest["layers"][0]["digest"]])


@pytest.fixture
def root(layer, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        tar.extractall(tmp_path / "root")
    # Whoever runs it must get to it.
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.getuid() and str(directory) != "/":
            directory.chmod(directory.stat().st_mode | 0o011)
    return tmp_path / "root"


def run(root, *command):
    """The command line that runs `command` in it."""
    if os.getuid() == 0:
        wrap, user = ["unshare", "--mount"], ["--userspec=65532:65532"]
    else:
        wrap, user = ["unshare", "--mount", "--map-root-user"], []
        if subprocess.call([*wrap, "true"], stderr=subprocess.DEVNULL) != 0:
            pytest.skip("neither root nor user namespaces: unshare --map-root-user is refused")
    return [*wrap, "sh", "-c", RUN, "sh", str(root), *user, str(root), *command]


# --- the archive ------------------------------------------------------------------------------

def test_every_descriptor_names_a_blob_that_is_there(archive):
    blobs, index, _ = archive
    assert index["schemaVersion"] == 2
    seen = set()

    def look(descriptor, kind):
        assert descriptor["mediaType"] == f"application/vnd.oci.image.{kind}", descriptor
        data = blobs[descriptor["digest"]]
        assert descriptor["size"] == len(data)
        assert descriptor["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
        seen.add(descriptor["digest"])
        return data
    [of_index] = index["manifests"]
    manifest = json.loads(look(of_index, "manifest.v1+json"))
    config = json.loads(look(manifest["config"], "config.v1+json"))
    [of_layer] = manifest["layers"]
    layer = gzip.decompress(look(of_layer, "layer.v1.tar+gzip"))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    assert config["os"] == "linux" and config["architecture"] in ("amd64", "arm64")
    assert seen == set(blobs), "a blob that nothing names"


def test_it_runs_as_nobody_by_default(archive):
    blobs, index, _ = archive
    manifest = json.loads(blobs[index["manifests"][0]["digest"]])
    config = json.loads(blobs[manifest["config"]["digest"]])["config"]
    with open(os.path.join(ROOT, "Dockerfile")) as f:
        final = f.read().rpartition("\nFROM ")[2].splitlines()[1:]
    lines = dict(line.split(" ", 1) for line in final)
    assert config["User"] == lines["USER"] == "65532:65532"
    assert config["Entrypoint"] == json.loads(lines["ENTRYPOINT"])
    assert config["Cmd"] == json.loads(lines["CMD"])
    assert config["ExposedPorts"] == {f"{port}/tcp": {} for port in lines["EXPOSE"].split()}


def test_entries_are_sorted_and_owned_by_root(archive, layer):
    _, _, names = archive
    assert names == sorted(names)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, "", "")}
    assert len({m.mtime for m in members}) == 1
    assert not [m.name for m in members if m.mode & 0o6000], "set-user-ID"


def test_nothing_is_in_it_but_the_program_and_its_libraries(layer):
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        files = {"/" + m.name for m in tar.getmembers() if not m.isdir()}
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    curl = re.search(r"libcurl\.so\.4 .*=> (/\S+)", cache).group(1)  # loaded when it is needed
    named = {curl} | set(re.findall(r"(?:=> )?(/\S+) \(0x", subprocess.run(
        ["ldd", os.path.join(BUILD, "sluice"), curl], capture_output=True, text=True,
        check=True).stdout))
    copyrights = {f for f in files if f.startswith("/usr/share/doc/") and f.endswith("/copyright")}
    assert files - copyrights == named | {"/usr/bin/sluice", "/etc/passwd", "/etc/group",
                                          "/etc/ssl/certs/ca-certificates.crt",
                                          "/usr/lib/ssl/cert.pem"}
    assert len(copyrights) > 1


# --- what runs --------------------------------------------------------------------------------

def test_the_program_runs_in_it(root):
    with open(os.path.join(ROOT, "VERSION")) as f:
        version = f.read().strip()
    out = subprocess.run(run(root, "/usr/bin/sluice", "--version"), capture_output=True, text=True)
    assert out.returncode == 0 and version in out.stdout, out


@contextlib.contextmanager
def serving(root, config):
    """It runs, until it has ended by SIGTERM without a fault."""
    health = free_port()
    (root / "etc/sluice.yaml").write_text(json.dumps(
        {**BASE, "health": {"address": f"127.0.0.1:{health}"}, **config}))
    process = subprocess.Popen(run(root, "/usr/bin/sluice", "proxy", "-c", "/etc/sluice.yaml"),
                               stderr=subprocess.PIPE, text=True)
    try:
        def ready():
            assert process.poll() is None, process.communicate()[1]
            return curl(f"127.0.0.1:{health}", "/readyz", "-f").returncode == 0
        wait_for(ready, "/readyz answers 200")
        yield process
    finally:
        process.terminate()
        log = process.communicate(timeout=20)[1]
    assert process.returncode == 0, log


def curl(address, path="/", *options):
    return subprocess.run(["curl", "-s", *options, f"http://{address}{path}"], capture_output=True,
                          text=True)


def listener(address, **route):
    return {"name": "http", "direction": "inbound", "address": address,
            "routes": [{"match": {"pathPrefix": "/"}, **route}]}


def test_it_serves_with_a_read_only_root_and_without_root(root):
    address = f"127.0.0.1:{free_port()}"
    route = {"directResponse": {"body": "here\n"}}
    with serving(root, {"listeners": [listener(address, **route)]}) as process:
        got = curl(address)
        with open(f"/proc/{process.pid}/status") as f:
            status = f.read()
        assert os.path.realpath(f"/proc/{process.pid}/root") == str(root)
        with open(f"/proc/{process.pid}/mountinfo") as f:
            mounts = f.read()
    assert got.stdout == "here\n"
    if os.getuid() == 0:
        assert re.search(r"^Uid:\t65532\t65532\t65532\t65532$", status, re.M)
        assert re.search(r"^CapEff:\t0+$", status, re.M)
    assert re.search(r"^\d+ \d+ \S+ \S+ / ro,", mounts, re.M), mounts


@pytest.mark.parametrize("known", [True, False])
def test_the_systems_cas_are_those_of_the_image(root, known):
    """Without `caFile`: for an upstream, and for a release."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    assert bundle.read_text().count("BEGIN CERTIFICATE") > 50
    if known:
        with open(tls.CA.cert) as f, open(bundle, "a") as to:
            to.write(f.read())
    address = f"127.0.0.1:{free_port()}"
    with Registry(context=tls.server_context()) as registry:
        config = {
            "lifecycle": {**BASE["lifecycle"], "appCleanup": "3s"},
            "cleanups": [cleanup(registry, "released", retries=0)],
            "listeners": [listener(address, upstream="far")],
            "upstreams": [{"name": "far", "endpoints": [f"127.0.0.1:{registry.port}"],
                           "tls": {"serverName": "a.test"}}]}
        with serving(root, config):
            got = curl(address, "/", "-o", "/dev/null", "-w", "%{http_code}")
        assert got.stdout == ("204" if known else "502")
        assert registry.paths() == (["/", "/released"] if known else [])


# --- again, elsewhere -------------------------------------------------------------------------

def test_another_build_gives_the_same_bytes(tmp_path):
    again = tmp_path / "another" / "place"
    shutil.copytree(ROOT, again, symlinks=True,
                    ignore=lambda d, names: {"build", ".git"} & set(names) if d == ROOT else set())
    with tarfile.open(ARCHIVE) as tar:
        epoch = str(int(tar.getmembers()[0].mtime))
    done = subprocess.run(["make", "-j2", "image"], cwd=again, capture_output=True, text=True,
                          env={**os.environ, "BUILD": "build", "SOURCE_DATE_EPOCH": epoch})
    assert done.returncode == 0, done.stderr[-3000:]
    with open(ARCHIVE, "rb") as a, open(again / "build/image/sluice.tar", "rb") as b:
        assert hashlib.sha256(a.read()).digest() == hashlib.sha256(b.read()).digest()


def test_readme_states_the_size(layer):
    size = os.path.getsize(ARCHIVE) / 1e6
    with open(os.path.join(ROOT, "README.md")) as f:
        said = re.search(r"`make image` writes.*?(\d+\.\d) MB, (\d+\.\d) MB unpacked", f.read(),
                         re.S)
    assert said, "README.md does not state the image's size"
    for claim, true in zip(map(float, said.groups()), (size, len(layer) / 1e6)):
        assert abs(claim - true) < 0.1 * true, f"README.md: {claim} MB; true: {true:.1f} MB"
