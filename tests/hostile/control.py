"""Load every file of a folder, each in a process of its own, and tell which of them did harm.

Run as a script: `control.py FOLDER`, where each file is named `<case>.<loader>`. It prints the harmful ones as JSON.
Nothing of ekiben is in here: this is what happens to who just loads.
"""

import copyreg
import json
import os
import pickle
import shutil
import signal
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import cloudpickle  # noqa: F401 -- loaded once, before the forks
import joblib
import numpy as np
import pandas as pd  # noqa: F401
import scipy.io  # noqa: F401
import sklearn.datasets
import sklearn.preprocessing  # noqa: F401
import skops.io

PATIENCE_S = 120
STARTED_S = 10  # for what a load started and did not wait for
BUILT = """
def leave():
    open("canary", "w").close()

class Hooked:
    def __new__(cls, *arguments, **named):
        leave()
        return object.__new__(cls)

class Stateful:
    def __setstate__(self, state):
        leave()

class Plain:
    pass

class Appending:
    def append(self, value):
        leave()
    def extend(self, values):
        leave()

class Setting:
    def __setitem__(self, key, value):
        leave()

class Adding:
    def add(self, value):
        leave()
"""


class Persistent(pickle.Unpickler):
    """A loader that takes persistent ids for commands, as loaders of other libraries take them for paths."""

    def persistent_load(self, pid):
        return os.system(pid)


def load(path, loader):
    data = path.read_bytes()
    if loader == "pickle":
        with path.open("rb") as file:
            return Persistent(file).load()
    if loader == "joblib":
        return joblib.load(path)
    if loader == "npy":
        found = np.load(path, allow_pickle=True)
        return found["x"] if hasattr(found, "files") else found
    if loader == "torch":
        with zipfile.ZipFile(path) as archive:
            return pickle.loads(archive.read("archive/data.pkl"))
    made = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    return use(made)


def use(made):
    """Do with a loaded transformer what a service does with each row."""
    if not hasattr(made, "transform"):
        return
    for row in ("touch canary", "open('canary', 'w')", ["touch", "canary"], Path("canary")):
        try:
            made.func(row)
        except BaseException:
            continue
    return


def prepare(folder):
    (folder / "precious").write_text("kept")
    (folder / "folder").mkdir()
    (folder / "folder" / "precious").write_text("kept")
    (folder / "mark.py").write_text("open('canary', 'w').close()\n")
    (folder / "mark_when_built.py").write_text(BUILT)
    copies = {"inner.pkl": sys.argv[1] + "/os-system.pickle", "inner.npy": sys.argv[1] + "/numpy-objects.npy"}
    for name, source in copies.items():
        shutil.copy(source, folder / name)


def child(path, loader, folder):
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    copyreg.add_extension("os", "system", 0xF0)
    sink = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(sink, descriptor)
    signal.alarm(PATIENCE_S)
    try:
        load(path, loader)
    finally:
        wait_for_what_was_started()
        os._exit(0)


def wait_for_what_was_started():
    """Wait until each process that the load started has ended, for some seconds: a `Popen` returns before its command."""
    signal.alarm(STARTED_S)  # which ends this process as well
    with suppress(ChildProcessError):
        while True:
            os.wait()


def is_harmed(folder):
    return any(folder.glob("canary*")) or any(folder.glob("*canary*")) or not (folder / "folder").exists()


def main():
    harmful = []
    for path in sorted(Path(sys.argv[1]).iterdir()):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder)
            pid = os.fork()
            if pid == 0:
                child(path, path.suffix[1:], folder)
            os.waitpid(pid, 0)
            if is_harmed(folder):
                harmful.append(path.stem)
    print(json.dumps(harmful))


if __name__ == "__main__":
    main()
