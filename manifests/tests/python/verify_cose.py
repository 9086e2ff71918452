"""Checks COSE signatures with pycose, an implementation that is not ours.

Usage: verify_cose.py KEYS.json FILE... KEYS.json maps names to `{"public": HEX, "key_id": HEX}`. Prints a line of JSON for each
file: the names whose signatures hold, and whether any still holds when the payload is changed.
"""

import json
import sys

from pycose.keys import OKPKey
from pycose.headers import KID
from pycose.messages import CoseMessage, Sign1Message, SignMessage


def holding(message, keys):
    """The names of the keys whose signatures hold, in the order of the message."""
    names = []
    signers = [message] if isinstance(message, Sign1Message) else message.signers
    for signer in signers:
        name, public = keys[signer.uhdr[KID].hex()]
        signer.key = OKPKey(crv="ED25519", x=public)
        if signer.verify_signature():
            names.append(name)
    return names


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        listed = json.load(file)
    keys = {key["key_id"]: (name, bytes.fromhex(key["public"])) for name, key in listed.items()}
    for path in sys.argv[2:]:
        with open(path, "rb") as file:
            content = file.read()
        message = CoseMessage.decode(content)
        assert isinstance(message, (SignMessage, Sign1Message)), type(message)
        changed = CoseMessage.decode(content)
        changed.payload = bytes([changed.payload[0] ^ 1]) + changed.payload[1:]
        holds, still = holding(message, keys), holding(changed, keys)
        print(json.dumps({"file": path, "type": type(message).__name__, "holds": holds, "holds_changed": still}))


main()
