"""python-tuf's client. Exits with 0 if the target was downloaded, 1 if it was refused.

usage: client.py URL ROOT STATE_DIR TARGET
"""

import os
import sys

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater

url, root, state, target = sys.argv[1:]
os.makedirs(f"{state}/targets", exist_ok=True)
os.makedirs(f"{state}/metadata", exist_ok=True)
try:
    with open(root, "rb") as file:
        anchor = file.read()
    updater = Updater(
        f"{state}/metadata", f"{url}/metadata/", f"{state}/targets", f"{url}/targets/", bootstrap=anchor
    )
    info = updater.get_targetinfo(target)
    if info is None:
        sys.exit("no such target")
    updater.download_target(info)
except (RepositoryError, DownloadError) as error:
    sys.exit(f"refused: {error!r}")
