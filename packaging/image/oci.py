#!/usr/bin/env python3
"""An OCI image archive (image-spec 1.0: oci-layout, index.json, blobs) out of a directory, the same
bytes each time: entries sorted, owned by root, dated SOURCE_DATE_EPOCH (0 where it is not set).

    oci.py ROOTFS OUT.tar --name NAME [--user UID:GID] [--expose PORT]... [--label KEY=VALUE]...
           [--level 0-9] --entrypoint WORDS [--cmd WORDS]

Prints what the image holds and weighs."""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import platform
import shlex
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
MEDIA = "application/vnd.oci.image."


def entry(info):
    """Modes stay; whose it was here, and when it was copied, does not matter."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = EPOCH
    return info


def layer_of(root):
    """The directory as an uncompressed tar, parents before children."""
    out = io.BytesIO()
    paths = sorted(os.path.relpath(os.path.join(directory, name), root)
                   for directory, names, files in os.walk(root) for name in names + files)
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            tar.add(os.path.join(root, path), path, recursive=False, filter=entry)
    return out.getvalue()


class Blobs(dict):
    """digest -> bytes"""

    def put(self, kind, data):
        if not isinstance(data, bytes):
            data = json.dumps(data, sort_keys=True).encode()
        digest = hashlib.sha256(data).hexdigest()
        self[digest] = data
        return {"mediaType": MEDIA + kind, "digest": "sha256:" + digest, "size": len(data)}


def image(options):
    """(blobs, index, the size of the layer unpacked)"""
    blobs = Blobs()
    layer = layer_of(options.rootfs)
    created = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).isoformat()
    labels = dict(label.split("=", 1) for label in options.label)
    config = {
        "architecture": ARCHITECTURES[platform.machine()], "os": "linux", "created": created,
        "config": {"User": options.user, "Entrypoint": options.entrypoint, "Cmd": options.cmd,
                   "ExposedPorts": {f"{port}/tcp": {} for port in options.expose},
                   "Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/", "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": created, "created_by": "packaging/image/oci.py"}]}
    manifest = blobs.put("manifest.v1+json", {
        "schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json",
        "config": blobs.put("config.v1+json", config),
        "layers": [blobs.put("layer.v1.tar+gzip", gzip.compress(layer, options.level, mtime=0))]})
    tag = options.name.rpartition(":")[2]
    manifest["annotations"] = {"io.containerd.image.name": options.name,
                               "org.opencontainers.image.ref.name": tag}
    manifest["platform"] = {"architecture": config["architecture"], "os": "linux"}
    return blobs, {"schemaVersion": 2, "mediaType": MEDIA + "index.v1+json",
                   "manifests": [manifest]}, len(layer)


def archive(path, blobs, index):
    """Written beside it and renamed: there is the old one or the new."""
    with tarfile.open(path + ".new", "w", format=tarfile.PAX_FORMAT) as tar:
        def put(name, data=None):
            info = entry(tarfile.TarInfo(name))
            directory = data is None
            info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
            info.mode = 0o755 if directory else 0o644
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
        put("blobs")
        put("blobs/sha256")
        for digest in sorted(blobs):
            put("blobs/sha256/" + digest, blobs[digest])
        put("index.json", json.dumps(index, sort_keys=True).encode())
        put("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    os.rename(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rootfs")
    parser.add_argument("out")
    parser.add_argument("--name", required=True)
    parser.add_argument("--user", default="65532:65532")
    parser.add_argument("--expose", action="append", default=[])
    parser.add_argument("--label", action="append", default=[])
    parser.add_argument("--level", type=int, default=9, help="of compression")
    parser.add_argument("--entrypoint", type=shlex.split, required=True)
    parser.add_argument("--cmd", type=shlex.split, default=[])
    options = parser.parse_args()
    blobs, index, unpacked = image(options)
    archive(options.out, blobs, index)
    files = sum(len(f) for _, _, f in os.walk(options.rootfs))
    print(f"{options.out}: {options.name}, {files} files, {unpacked / 1e6:.1f} MB, "
          f"{os.path.getsize(options.out) / 1e6:.1f} MB compressed")


if __name__ == "__main__":
    main()
