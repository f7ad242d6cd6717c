"""Images without a container engine: a stack of folders under an overlay file system, one for each RUN and
COPY, and what a container is started with. Must run in a mount namespace of its own."""

import contextlib
import dataclasses
import fnmatch
import os
import pathlib
import shutil
import subprocess

from dockerfile import expand

# Files of the project that may be copied into a layer, in bytes: a mistake in .dockerignore is to be found
# before it fills the disk.
MOST_OF_CONTEXT = 100_000_000
# What comes from the machine that this runs on, so that package clients work in a root as they do here.
OF_THE_MACHINE = ["/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs"]
PASSED_ON = ["PIP_CERT", "PIP_DEFAULT_TIMEOUT", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
# What an engine and the images that stand below set.
ENVIRONMENT = {"HOME": "/root", "CARGO_HOME": "/usr/local/cargo"}
PATH = "/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclasses.dataclass
class Layer:
    made_by: str
    folder: pathlib.Path

    def byte_size(self):
        """Bytes of its files, links counted once."""
        files = {}
        for parent, _, names in os.walk(self.folder):
            for name in names:
                status = os.lstat(os.path.join(parent, name))
                files[status.st_ino] = status.st_size
        return sum(files.values())


@dataclasses.dataclass
class Image:
    layers: list
    environment: dict
    labels: dict = dataclasses.field(default_factory=dict)
    ports: list = dataclasses.field(default_factory=list)
    user: str = "0:0"
    folder: str = "/"
    entrypoint: list = dataclasses.field(default_factory=list)
    command: list = dataclasses.field(default_factory=list)
    check: list = dataclasses.field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def on_top(self):
        """A copy that can go on."""
        return dataclasses.replace(
            self,
            layers=list(self.layers),
            environment=dict(self.environment),
            labels=dict(self.labels),
            ports=list(self.ports),
        )


class Builder:
    """Builds the stages of a Dockerfile, each at most once. `make_base` gives the folders that stand for an
    image that the file does not build."""

    def __init__(self, stages, make_base, context, work):
        self.stages = {stage.name: stage for stage in stages}
        self.make_base, self.context, self.work = make_base, context, work
        self.images = {}
        patterns = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
        self.ignored = [line for line in patterns if line and not line.startswith("#")]

    def build(self, name):
        if name not in self.images:
            stage = self.stages[name]
            image = self.base(stage.base)
            arguments = {}
            for instruction in stage.instructions:
                print(f"  [{name}] {instruction}", flush=True)
                self.carry_out(image, instruction, arguments)
            self.images[name] = image
        return self.images[name]

    def base(self, name):
        if name in self.stages:
            return self.build(name).on_top()
        layers = [Layer("FROM", folder) for folder in self.make_base(name)]
        return Image(layers, {"PATH": PATH})

    def carry_out(self, image, instruction, arguments):
        variables = arguments | image.environment
        match instruction.name:
            case "ARG":
                for key, value in instruction.assignments():
                    arguments[key] = expand(value, variables)
            case "ENV" | "LABEL":
                target = image.environment if instruction.name == "ENV" else image.labels
                for key, value in instruction.assignments():
                    target[key] = expand(value, variables)
            case "WORKDIR":
                image.folder = os.path.join(image.folder, instruction.text)
                with self.layer(image, instruction) as root:
                    inside(root, image.folder).mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = instruction.text
            case "EXPOSE":
                image.ports += [int(port) for port in instruction.words()]
            case "STOPSIGNAL":
                image.stop_signal = instruction.text
            case "ENTRYPOINT":
                image.entrypoint = instruction.command()
            case "CMD":
                image.command = instruction.command()
            case "HEALTHCHECK":
                image.check = dataclasses.replace(
                    instruction, text=instruction.text.removeprefix("CMD ")
                ).command()
            case "COPY":
                self.copy(image, instruction)
            case "RUN":
                self.run(image, instruction, variables)

    @contextlib.contextmanager
    def layer(self, image, instruction):
        """A new one; gives its root while it can be written to."""
        number = len(list(self.work.glob("layer-*")))
        layer = Layer(str(instruction), self.work / f"layer-{number}")
        scratch, root = self.work / f"scratch-{number}", self.work / f"root-{number}"
        for folder in (layer.folder, scratch, root):
            folder.mkdir()
        options = f"{lower(image)},upperdir={layer.folder},workdir={scratch}"
        mount("-t", "overlay", "overlay", "-o", options, root)
        try:
            yield root
        finally:
            subprocess.run(["umount", "--recursive", root], check=True)
        image.layers.append(layer)

    def copy(self, image, instruction):
        *sources, target = instruction.words()
        stage = dict(instruction.flags).get("from")
        with contextlib.ExitStack() as stack:
            if stage:
                built = self.build(stage)
                origin = stack.enter_context(mounted(built, self.work))
            else:
                origin = self.context
            root = stack.enter_context(self.layer(image, instruction))
            is_folder = target.endswith("/") or target == "."
            target = inside(root, os.path.join(image.folder, target))
            for source in sources:
                self.copy_one(origin, source.lstrip("/"), target, is_folder, not stage)

    def copy_one(self, origin, source, target, is_folder, is_context):
        path = origin / source
        if path.is_dir():
            leave_out = self.leave_out if is_context else None
            if is_context:
                self.check_size(path)
            shutil.copytree(
                path, target, symlinks=True, dirs_exist_ok=True, ignore=leave_out
            )
            return
        if is_context and self.is_ignored(source):
            raise ValueError(f"{source} is not in the build context: see .dockerignore")
        target = target / path.name if is_folder else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)

    def check_size(self, folder):
        whole = 0
        for parent, folders, names in os.walk(folder):
            left_out = self.leave_out(parent, [*folders, *names])
            folders[:] = [name for name in folders if name not in left_out]
            files = [name for name in names if name not in left_out]
            whole += sum(os.lstat(os.path.join(parent, name)).st_size for name in files)
        if whole > MOST_OF_CONTEXT:
            raise ValueError(f"the build context has {whole} bytes: see .dockerignore")

    def leave_out(self, folder, names):
        relative = pathlib.Path(folder).relative_to(self.context)
        return [name for name in names if self.is_ignored(str(relative / name))]

    def is_ignored(self, path):
        """The last pattern that fits decides, as Docker has it. A pattern with ! brings back all that is
        under it."""
        verdict = False
        for pattern in self.ignored:
            wanted = pattern.startswith("!")
            pattern = pattern.removeprefix("!")
            if pattern.startswith("**/"):
                fits = fnmatch.fnmatch(path.rpartition("/")[2], pattern[3:])
            else:
                fits = any(
                    fnmatch.fnmatch(part, pattern)
                    for part in (path.split("/")[0], path)
                )
            verdict = not wanted if fits else verdict
        return verdict

    def run(self, image, instruction, variables):
        with self.layer(image, instruction) as root:
            for folder in ("/proc", "/dev"):
                mount("--rbind", folder, inside(root, folder))
            for kind, options in instruction.flags:
                self.mount_cache(root, kind, options)
            with borrowed(root):
                passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
                command = ["chroot", root, "/usr/bin/env", "-i", "-C", image.folder]
                settings = ENVIRONMENT | variables | passed
                command += [f"{key}={value}" for key, value in settings.items()]
                subprocess.run([*command, "/bin/sh", "-c", instruction.text], check=True)

    def mount_cache(self, root, kind, options):
        fields = dict(option.split("=", 1) for option in options.split(","))
        if kind != "mount" or fields["type"] != "cache":
            raise ValueError(f"--{kind}={options} is not understood")
        cache = self.work / "caches" / fields["target"].replace("/", "_")
        cache.mkdir(parents=True, exist_ok=True)
        target = inside(root, fields["target"])
        target.mkdir(parents=True, exist_ok=True)
        mount("--bind", cache, target)


@contextlib.contextmanager
def mounted(image, work):
    """The image's root, read-only."""
    root = work / f"read-{len(list(work.glob('read-*')))}"
    root.mkdir()
    if len(image.layers) == 1:
        mount("--bind", "-o", "ro", image.layers[0].folder, root)
    else:
        mount("-t", "overlay", "overlay", "-o", f"ro,{lower(image)}", root)
    try:
        yield root
    finally:
        subprocess.run(["umount", "--recursive", root], check=True)


@contextlib.contextmanager
def borrowed(root):
    """Puts the machine's own settings for networks and packages over the root's, for a while."""
    for name in OF_THE_MACHINE:
        path, target = pathlib.Path(name), inside(root, name)
        if not path.exists():
            continue
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.touch()
        mount("--bind", path, target)
    yield


def lower(image):
    return "lowerdir=" + ":".join(str(layer.folder) for layer in reversed(image.layers))


def inside(root, path):
    return pathlib.Path(root, str(path).lstrip("/"))


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)
