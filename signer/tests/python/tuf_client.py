"""python-tuf's client against a folder that is served over HTTP on the loopback.

Arguments: repository folder, trusted root file, folder for its state, names of targets to download.
Prints one line a target: SHA-256, length, name.
"""

import functools
import hashlib
import http.server
import os
import sys
import threading

from tuf.ngclient import Updater

repository, root, state, *names = sys.argv[1:]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


handler = functools.partial(Quiet, directory=repository)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"

metadata, downloads = os.path.join(state, "metadata"), os.path.join(state, "downloads")
os.makedirs(metadata, exist_ok=True)
os.makedirs(downloads, exist_ok=True)
with open(root, "rb") as file:
    trusted = file.read()
updater = Updater(metadata, f"{base}/metadata/", downloads, f"{base}/targets/", bootstrap=trusted)
updater.refresh()
for name in names:
    info = updater.get_targetinfo(name)
    if info is None:
        sys.exit(f"no such target: {name}")
    with open(updater.download_target(info), "rb") as file:
        content = file.read()
    print(hashlib.sha256(content).hexdigest(), len(content), name)
