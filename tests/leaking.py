"""What tests of leaks plant, made in parts so that no file holds a secret, and what a scan says of it."""

import io
import random
import zipfile

from ekiben.containers import leaks
from ekiben.containers.leaks import Machine

LOWER, DIGITS, HEX = "abcdefghijklmnopqrstuvwxyz", "0123456789", "0123456789abcdef"
UPPER = LOWER.upper()
OWN = Machine(texts={"the name of this machine": ("gpu-box-17",)})


class Draw:
    """Letters and bytes that are the same each time, of a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def some(self, n, letters=LOWER + UPPER + DIGITS):
        return "".join(self._random.choice(letters) for _ in range(n))

    def mixed(self, n, letters=LOWER + UPPER + DIGITS):
        """Letters of which some are digits."""
        return self.some(n - 4, letters) + "7" + self.some(1, letters) + "42"

    def uuid(self):
        return "-".join(self.some(n, HEX) for n in (8, 4, 4, 4, 12))

    def data(self, n):
        return bytes(self._random.randrange(256) for _ in range(n))


def saved(write):
    """Give the bytes that something writes to a file."""
    made = io.BytesIO()
    write(made)
    return made.getvalue()


def zipped(files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(made := io.BytesIO(), "w", method) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def kinds_in(folder, name, data):
    """Plant one file in a folder, and tell the kinds of leaks that a scan finds there, in that file alone."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = leaks.scan(folder, own=OWN, published=())
    assert {leak.place.partition("!")[0] for leak in found} <= {name}
    return {leak.kind for leak in found}
