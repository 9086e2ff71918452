"""Writes a repository with python-tuf: every key type, a rotated root, delegations of each kind.

usage: make_repository.py DIR     makes DIR/metadata, DIR/targets and DIR/root.json (the first root)
"""

import sys
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

home = Path(sys.argv[1])
expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)


def write(path: str, data: bytes) -> None:
    file = home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def publish(role: str, signed, signers) -> MetaFile:
    # White space that is not canonical, so that nobody gets away with hashing another form than the received one.
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    data = metadata.to_bytes(JSONSerializer(compact=False))
    name = role if role == "timestamp" else f"{signed.version}.{role}"
    write(f"metadata/{name}.json", data)
    return MetaFile(signed.version, len(data), {"sha256": sha256(data).hexdigest()})


def add_target(targets: Targets, path: str, hashes) -> None:
    data = f"content of {path}".encode() * 100
    targets.targets[path] = TargetFile.from_data(path, data, hashes)
    targets.targets[path].unrecognized_fields["custom"] = {"text": 'quote " backslash \\ newline \n \u00e9 \U0001f600'}
    folder, slash, name = path.rpartition("/")
    for value in targets.targets[path].hashes.values():
        write(f"targets/{folder}{slash}{value}.{name}", data)


rsa = CryptoSigner.generate_rsa(scheme="rsassa-pss-sha256", size=3072)
ecdsa = CryptoSigner.generate_ecdsa()
ed25519 = CryptoSigner.generate_ed25519()
online = CryptoSigner.generate_ecdsa()
next_rsa = CryptoSigner.generate_rsa(scheme="rsassa-pss-sha256", size=2048)
mixed = [rsa, ecdsa, ed25519]

root = Root(version=1, expires=expires, consistent_snapshot=True)
for signer in mixed:
    root.add_key(signer.public_key, "root")
    root.add_key(signer.public_key, "targets")
for role in ("snapshot", "timestamp"):
    root.add_key(online.public_key, role)
root.roles["root"].threshold = 3
root.roles["targets"].threshold = 2
publish("root", root, mixed)
(home / "root.json").write_bytes((home / "metadata/1.root.json").read_bytes())

# The RSA key is rotated out; the threshold falls with it.
root.version = 2
root.revoke_key(rsa.public_key.keyid, "root")
root.add_key(next_rsa.public_key, "root")
root.unrecognized_fields["x-note"] = {"b": [1, None, True], "a": "\u00fc"}
publish("root", root, [*mixed, next_rsa])

meta = {}

paths = Targets(expires=expires)
add_target(paths, "app/v1/app.bin", ["sha256"])
meta["paths.json"] = publish("paths", paths, [ed25519])

hashed = Targets(expires=expires)
add_target(hashed, "hashed/file", ["sha512"])
meta["hashed.json"] = publish("hashed", hashed, [rsa])

bins = Targets(expires=expires)
succinct = SuccinctRoles([], 1, 3, "bin")
bins.delegations = Delegations({}, succinct_roles=succinct)
bins.add_key(ecdsa.public_key)
meta["bins.json"] = publish("bins", bins, [ed25519])
for name in succinct.get_roles():
    contents = Targets(expires=expires)
    for number in range(16):
        path = f"bins/file-{number}"
        if succinct.get_role_for_target(path) == name:
            add_target(contents, path, ["sha256", "sha512"])
    meta[f"{name}.json"] = publish(name, contents, [ecdsa])

targets = Targets(expires=expires)
add_target(targets, "top.txt", ["sha256"])
prefix = sha256(b"hashed/file").hexdigest()[:3]
targets.delegations = Delegations(
    {},
    {
        "paths": DelegatedRole("paths", [], 1, True, ["app/*/*.bin"]),
        "hashed": DelegatedRole("hashed", [], 1, False, None, [prefix]),
        "bins": DelegatedRole("bins", [], 1, False, ["bins/*"]),
    },
)
targets.add_key(ed25519.public_key, "paths")
targets.add_key(rsa.public_key, "hashed")
targets.add_key(ed25519.public_key, "bins")
meta["targets.json"] = publish("targets", targets, [rsa, ed25519])

snapshot = Snapshot(version=7, expires=expires, meta=meta)
timestamp = Timestamp(version=9, expires=expires, snapshot_meta=publish("snapshot", snapshot, [online]))
publish("timestamp", timestamp, [online])
