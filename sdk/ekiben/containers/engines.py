"""Which engine builds and runs images here: found by building and running one, and told with the reason."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ekiben.containers import even, probes, recipe, wheels
from ekiben.containers.remembering import digest
from ekiben.errors import BuildError, SpecError

NAMES = ("docker", "podman", "nerdctl")  # in the order of trying; each builds and runs
BUILDERS = (*NAMES, "buildah")  # the last one builds alone, and is taken when it is named
BUILDAHS = ("podman", "buildah")  # one builder and one store of images
WITH_A_BRIDGE = ("docker", "nerdctl")
KEPT = "localhost/ekiben-kept"  # base and dependencies of an image
PROBE = f"localhost/ekiben-probe:{os.getpid()}"  # two processes may try at once
TRIED_S = 120
PARTS = ("runc", "crun", "conmon", "buildah", "dockerd", "containerd")  # with which engines run containers
VARIABLES = ("DOCKER", "CONTAINER", "PODMAN", "BUILDAH", "XDG_RUNTIME")  # how the names begin that engines hear of
MOST_FILES = 4096
FULL = "no space left on device"
# What an image must bear: nobody's rights, nothing written but /tmp, and no more than it is given.
HARDENED = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=256",
    "--tmpfs=/tmp:rw,nosuid,nodev,noexec,size=128m,mode=1777",
)
STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{folder}/root"
runroot = "{folder}/run"
"""
SETTINGS = """\
[containers]
netns = "host"
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# Asks docker for BuildKit, be it its own or buildx, and for an image alone, without a list of attestations around it.
BUILDKIT = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
NO_BUILDKIT = {"DOCKER_BUILDKIT": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that built and ran an image here, and how it wants to be asked.

    Parameters
    ----------
    name
        docker, podman, nerdctl or buildah.
    environment
        Variables that it is started with: of podman in a sandbox, where its own settings lie.
    building
        Arguments of each build.
    mounts
        Whether a step of a build mounts a folder of its context; else the folder is copied.
    publishes
        Whether a container has a network of its own, and its port is published; else it listens on this machine's.
    limits
        Whether processors and memory can be limited.
    why
        Why this one.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    building: tuple[str, ...] = ()
    mounts: bool = True
    publishes: bool = True
    limits: bool = True
    why: str = ""

    def call(self, *words: str, seconds: float = 600, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its commands.

        Raises
        ------
        BuildError
            If it refuses, with its last words.
        """
        command = [self.name, *words]
        own = {**os.environ, **self.environment}
        try:
            done = subprocess.run(
                command, env=own, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            raise BuildError(f"{self.name} {words[0]} must end within {seconds:.0f} s. It did not.") from None
        if check and done.returncode and FULL in done.stderr.lower():
            raise BuildError(
                f"{self.name} {words[0]} must have room for the layers of an image, about three times its size. The disk where it "
                "keeps them is full. Free some of it, or set EKIBEN_CACHE to a folder with room, where ekiben gives it settings of its own."
            )
        if check and done.returncode:
            raise BuildError(f"{self.name} {words[0]} must succeed. It refused:\n{last(done.stderr + done.stdout)}")
        return done

    @property
    def runs(self) -> bool:
        """Whether it runs containers, and not only builds images."""
        return self.name in NAMES

    def has(self, image: str) -> bool:
        """Tell whether it holds an image."""
        words = ("image", "inspect") if self.runs else ("inspect", "--type", "image")
        return self.call(*words, image, check=False).returncode == 0

    def build(
        self, folder: Path, name: str, *, epoch: int, arguments: Mapping[str, str], fresh: bool = False
    ) -> list[list[str]]:
        """Build an image of a folder without a network, the same bytes for the same folder where the engine can.

        Returns the commands that were run, the folder named as `.`. Podman and buildah read all bytes of a stage again to
        find it in their cache: what no edit of the code changes is kept as an image of its own.

        Raises
        ------
        BuildError
            If the engine refuses.
        """
        told = [f"--build-arg={key}={value}" for key, value in sorted(arguments.items())]
        told += ["--no-cache"] if fresh else []
        text = (folder / "Containerfile").read_text()
        parts = recipe.parted(text) if self.name in BUILDAHS else None
        if parts is None:
            commands = [self._build(folder, text, name, epoch, told)]
        else:
            kept = f"{KEPT}:{self._key(folder, parts[0], epoch, arguments)}"
            commands = [] if self.has(kept) and not fresh else [self._build(folder, parts[0], kept, epoch, told)]
            rest = parts[1].replace(recipe.LAST, f"FROM {kept}\n", 1)
            commands.append(self._build(folder, rest, name, epoch, ["--no-cache"] if fresh else []))
        if self.name not in BUILDAHS:
            try:
                self._make_even(name, epoch)
            except BaseException:
                self.call("rmi", name, check=False)  # under its name is what has the times of its build
                raise
        return commands

    def _build(self, folder: Path, text: str, name: str, epoch: int, told: list[str]) -> list[str]:
        words = [*self._build_words(name, epoch), *self.building, *told]
        with tempfile.TemporaryDirectory(prefix="ekiben-recipe-") as place:
            file = Path(place) / "Containerfile"
            file.write_text(text if self.mounts else recipe.without_mounts(text))
            self.call(*words, "-f", str(file), str(folder), seconds=1800)
        return [self.name, *words, "-f", "./Containerfile", "."]

    def _key(self, folder: Path, text: str, epoch: int, arguments: Mapping[str, str]) -> str:
        """Name what goes into the layers of base and dependencies: each wheel stands in the requirements with its digest."""
        ids = [
            self.call("image", "inspect", "--format", "{{.Id}}", each, check=False).stdout for each in _bases(arguments)
        ]
        files = [folder / "requirements.txt", *sorted((folder / "tools").iterdir())]
        steps = [line for line in text.splitlines() if not line.startswith("#")]
        return digest([steps, epoch, sorted(arguments.items()), ids, *(each.read_bytes() for each in files)])[:12]

    def _build_words(self, name: str, epoch: int) -> list[str]:
        words = ["build", "--network=none", "-t", name]
        if self.name in BUILDAHS:
            return [*words, "--format=oci", f"--timestamp={epoch}", "--layers"]
        return [*words, f"--build-arg=SOURCE_DATE_EPOCH={epoch}"]

    def _make_even(self, name: str, epoch: int) -> None:
        """Put an image with one time in place of one with the times of its build."""
        built = self.call("image", "inspect", "--format", "{{.Id}}", name).stdout.strip()
        with tempfile.TemporaryDirectory(prefix="ekiben-even-") as place:
            saved, made = Path(place) / "saved.tar", Path(place) / "even.tar"
            self.call("save", "-o", str(saved), name)
            even.rewrite(saved, made, name, epoch)
            self.call("load", "-i", str(made))
        if self.call("image", "inspect", "--format", "{{.Id}}", name).stdout.strip() != built:
            self.call("rmi", built, check=False)

    def release(self) -> None:
        """Let go of what the engine holds between two commands: podman mounts the folder of its layers on itself."""
        settings = self.environment.get("CONTAINERS_STORAGE_CONF")
        if settings:
            for name in ("overlay", "vfs"):
                folder = Path(settings).parent / "root" / name
                if folder.is_dir() and os.path.ismount(folder):
                    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def last(said: str, lines: int = 15) -> str:
    """Give the end of what a program said."""
    return "\n".join(said.strip().splitlines()[-lines:])


def find(name: str | None = None) -> Engine:
    """Find the first engine that builds and runs the smallest image.

    Parameters
    ----------
    name
        Ask this one alone.

    Raises
    ------
    SpecError
        If there is no such engine.
    BuildError
        If none works, with what each of them said.
    """
    if name is not None and name not in BUILDERS:
        raise SpecError(f"The 'engine' must be one of {', '.join(BUILDERS)}, none or stock. Got {name!r}.")
    told = []
    for each in [name] if name else NAMES:
        if shutil.which(each) is None:
            told.append(f"{each} is not installed.")
            continue
        found, said = _found(each)
        if found is not None:
            return replace(found, why=" ".join([*told, found.why]))
        told.append(f"{each} is installed, and does not run a container here: {said}")
    raise BuildError(
        f"An image needs an engine that runs a container. {' '.join(told)} Install one, or run this where there is one; "
        "engine='buildah' builds without running, engine='none' writes the image as an OCI layout, and does not run it."
    )


def _bases(arguments: Mapping[str, str]) -> list[str]:
    return [value for key, value in sorted(arguments.items()) if key == "BASE"]


def _found(name: str) -> tuple[Engine | None, str]:
    """Try an engine; one that ran a container here since the machine was started is asked whether it still answers."""
    place = wheels.cache() / "engines" / f"{name}-{digest(_here(name))[:12]}.json"
    with suppress(OSError, ValueError, TypeError):  # never tried here, or not by this version: it is tried
        told = json.loads(place.read_text())
        earlier = Engine(**{**told, "building": tuple(told["building"])})
        if not _answers(earlier):
            return earlier, ""
    found, said = _try(name)
    if found is not None:
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(asdict(found)))
    return found, said


def _here(name: str) -> list[object]:
    """Tell on what it depends whether an engine runs containers: its programs, its settings, who asks, and this start."""
    programs = [Path(path) for each in (name, *PARTS) if (path := shutil.which(each)) is not None]
    places = (Path("/etc/containers"), Path("/etc/docker"), Path.home() / ".config" / "containers")
    settings = sorted(file for place in places if place.is_dir() for file in place.rglob("*") if file.is_file())
    stats = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in (*programs, *settings)]
    variables = sorted((key, value) for key, value in os.environ.items() if key.startswith(VARIABLES))
    boot = Path("/proc/sys/kernel/random/boot_id")
    started = boot.read_text() if boot.is_file() else ""
    return [Path(__file__).read_bytes(), os.geteuid(), started, stats, variables]


def _try(name: str) -> tuple[Engine | None, str]:
    """Try an engine as it is set up, and podman once more with settings of its own for a sandbox."""
    said = ""
    for engine in _forms(name):
        said = _answers(engine)
        if said:
            continue
        with tempfile.TemporaryDirectory(prefix="ekiben-probe-") as place:
            probes.write(Path(place))
            for each in _ways_to_build(engine):
                built, said = _quietly(each, Path(place))
                if built and not each.runs:
                    each.call("rmi", "-f", PROBE, check=False)
                    return replace(each, why=f"{each.why} It is not run: buildah builds alone."), ""
                if built:
                    ran, said = _runs(each)
                    each.call("rmi", "-f", PROBE, check=False)
                    if ran is not None:
                        return ran, ""
        engine.release()
    return None, said


def _answers(engine: Engine) -> str:
    """Ask an engine about itself, and give what it says where it does not answer."""
    try:
        done = engine.call("info", seconds=30, check=False)
    except BuildError as reason:
        return str(reason)
    return last(done.stderr or done.stdout, 1) if done.returncode else ""


def _forms(name: str) -> Iterator[Engine]:
    environment = BUILDKIT if name == "docker" else {}
    does = "runs containers" if name in NAMES else "builds images"
    yield Engine(name=name, environment=environment, why=f"{name} {does} here.")
    if name in BUILDAHS and os.geteuid() == 0 and shutil.which("runc"):
        for driver in ("overlay", "vfs"):
            yield Engine(
                name=name,
                environment=_private(driver),
                publishes=False,
                why=f"{name} {does} here by settings of its own, with {driver} and runc.",
            )


def _private(driver: str) -> dict[str, str]:
    """Write podman's settings for a sandbox into the cache, none of them the machine's, and give the variables that name them."""
    folder = wheels.cache() / "engines" / f"podman-{driver}"
    folder.mkdir(parents=True, exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    (folder / "storage.conf").write_text(STORAGE.format(driver=driver, folder=folder))
    (folder / "containers.conf").write_text(SETTINGS.format(files=most))
    files = {"CONTAINERS_STORAGE_CONF": "storage.conf", "CONTAINERS_CONF": "containers.conf"}
    return {key: str(folder / name) for key, name in files.items()}


def _ways_to_build(engine: Engine) -> Iterator[Engine]:
    yield engine
    if engine.name in BUILDAHS:
        yield replace(engine, building=("--isolation=chroot",))
    if engine.name == "docker":
        why = f"{engine.why} It has no BuildKit: wheels are copied once more in a build."
        yield replace(engine, environment=NO_BUILDKIT, mounts=False, why=why)


def _quietly(engine: Engine, folder: Path) -> tuple[bool, str]:
    try:
        engine.build(folder, PROBE, epoch=0, arguments={})
    except BuildError as reason:
        return False, last(str(reason), 1)
    return True, ""


def _runs(engine: Engine) -> tuple[Engine | None, str]:
    """Run the smallest image hardened, with as much of the engine's own as works here."""
    said = ""
    for publishes in (True, False) if engine.publishes and _has_a_bridge(engine) else (False,):
        for limits in (True, False):
            each = replace(engine, publishes=publishes, limits=limits)
            with suppress(BuildError):
                done = each.call("run", "--rm", *asked(each), PROBE, seconds=TRIED_S, check=False)
                if done.returncode == 0:
                    return each, ""
                said = last(done.stderr, 1)
    return None, said


def _has_a_bridge(engine: Engine) -> bool:
    """Tell whether a container may have a network of its own: docker without one leaves it with none, and says nothing."""
    if engine.name not in WITH_A_BRIDGE:
        return True
    return engine.call("network", "inspect", "bridge", check=False).returncode == 0


def asked(engine: Engine, *, port: int = 3000, cpus: float = 1, memory_mb: int = 1024) -> Sequence[str]:
    """Give the arguments that a container is run with: hardened, limited, and its port on 127.0.0.1 alone."""
    network = [f"--publish=127.0.0.1:{port}:3000"] if engine.publishes else ["--network=host"]
    listens = [] if engine.publishes else [f"--env=BENTOML_PORT={port}", "--env=BENTOML_HOST=127.0.0.1"]
    limits = [f"--cpus={cpus:g}", f"--memory={memory_mb}m"] if engine.limits else []
    alone = (
        ["--read-only-tmpfs=false"] if engine.name == "podman" else []
    )  # which else lets /run and /var/tmp be written to
    return [*HARDENED, *alone, *network, *listens, *limits]
