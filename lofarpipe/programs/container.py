"""Programs in containers, and under mpirun: the engine, the image, and the bind mounts.

A program that is not started directly has a launcher: a small file to run in its place, with the same arguments,
also for its version. It starts this module, which hands over to the engine::

    python -m lofarpipe.programs.container IMAGE PROGRAM [WORD ...] -- [ARGUMENT ...]

The folders of all files and folders in the arguments are bound into the container under their own names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.find import NODESCRIPTS, find, find_executable, quiet_environment
from lofarpipe.support.data_directories import home_directory
from lofarpipe.support.disk import io_problem
from lofarpipe.support.utilities import write_atomically

ENGINES = ("apptainer", "singularity", "docker")  # the first one installed
DOCKER = "docker"
NONE = ("", "none")  # no container
SCHEMES = ("docker", "oras", "library", "https")
ENDINGS = (".sif", ".img", ".simg", ".sqsh")
MPIRUN = "mpirun"
QUESTIONS = ("--version", "--help", "-version", "-help")  # under mpirun several processes would answer
#: Inside as outside: WSClean and DP3 refuse to start with more threads of OpenBLAS, which an image may have set.
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
BETWEEN = "--"
LAUNCHERS = "launchers"  # folder


def find_engine() -> str:
    """Return the path of the container engine.

    Raises
    ------
    PipelineError
        If there is none.
    """
    paths = [path for name in ENGINES if (path := shutil.which(name))]
    engine = next((path for path in paths if Path(path).name != DOCKER or _has_daemon(path)), "")
    if not engine:
        silent = f"{paths[0]} has no daemon that answers; start it, or" if paths else "no container engine on PATH;"
        raise PipelineError(f"{silent} install one of {', '.join(ENGINES)}, or name a program")
    return engine


def _has_daemon(docker: str) -> bool:
    """Whether a client of docker reaches its daemon; many machines have the client alone."""
    return not _answer([docker, "version"])[0]


def is_reference(image: str) -> bool:
    """Return whether an image has to be pulled: docker://, oras://, library:// or https://."""
    return "://" in image


def is_program(image: str) -> bool:
    """Return whether a file is a program, and not a container."""
    path = Path(image)
    return path.is_file() and path.suffix not in ENDINGS and os.access(path, os.X_OK)


def image_problem(image: str) -> str:
    """Return the reason that an image is impossible, or ""."""
    scheme = image.partition("://")[0]
    if is_reference(image):
        return "" if scheme in SCHEMES else f"'{image}'; one of {', '.join(f'{one}://' for one in SCHEMES)} is needed"
    return "" if Path(image).exists() else f"there is no container or program {image}; correct the path"


def cache_directory() -> Path:
    """Return the directory of images and launchers."""
    return Path(os.environ.get("XDG_CACHE_HOME") or f"{home_directory()}/.cache") / "genericpipeline" / "containers"


def pull_image(reference: str) -> str:
    """Return the engine's name of an image reference, pulled once even for concurrent requests.

    Raises
    ------
    PipelineError
        If it cannot be pulled.
    """
    engine = find_engine()
    if Path(engine).name == DOCKER:
        name = reference.removeprefix("docker://")
        if is_reference(name):
            raise PipelineError(f"{reference}: docker takes docker:// only; install apptainer, or name another image")
        if _answer([engine, "image", "inspect", name])[0]:
            _pull([engine, "pull", name], reference)
        return name
    target = cache_directory() / f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', reference)}.sif"
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _pull([engine, "pull", str(partial), reference], reference)
                partial.replace(target)
    except OSError as err:
        raise PipelineError(f"{reference}: cannot be kept in {target.parent}: {io_problem(err)}") from err
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return str(target)


def _pull(command: Sequence[str], reference: str) -> None:
    code, output = _answer(command)
    if code:
        last = output.strip().split("\n")[-1][:300]
        raise PipelineError(f"{reference}: {shlex.join(command)} exited with {code}: '{last}'; correct the reference")


def _answer(command: Sequence[str]) -> tuple[int, str]:
    """Run a command of the engine; return its exit code and output."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        done = subprocess.run(command, env=quiet_environment(), check=False, **streams)  # type: ignore[call-overload]
    except OSError as err:
        raise PipelineError(f"{command[0]}: cannot be started: {err.strerror}; repair it") from err
    return done.returncode, done.stdout.decode(errors="replace")


#: The default image, replaced by a program on PATH if no container engine is installed.
DEFAULT_IMAGE = "docker://alecthomson/wsclean:latest"


def container_for(local: str, hosted: str, program: str) -> tuple[str, str]:
    """Return the container, or the program itself, that two options name; and a notice where it is neither.

    Raises
    ------
    PipelineError
        If ``hosted`` is not a reference; without a container engine, if an image was requested, or no such program
        is on PATH.
    """
    if local not in NONE:
        return str(Path(local).absolute()), ""
    if hosted not in NONE and hosted.partition("://")[0] not in (SCHEMES if is_reference(hosted) else ()):
        needed = ", ".join(f"{one}://" for one in SCHEMES)
        raise PipelineError(f"is '{hosted}'; a reference is needed that begins with one of {needed}; correct it")
    try:
        find_engine()
        return hosted, ""
    except PipelineError:
        if hosted not in (DEFAULT_IMAGE, *NONE) or not shutil.which(program):
            raise
    return NONE[1], f"there is no container engine; {shutil.which(program)} is used"


# ---- launchers


def step_executable(control: Mapping[str, str], settings: Settings) -> Path:
    """Return the program of a step, or the launcher that stands for it.

    Parameters
    ----------
    control: the control keys set for the step.

    Raises
    ------
    PipelineError
        If there is no such program, engine or image.
    """
    typed, nodescript = control.get("executable", ""), control.get("nodescript") or NODESCRIPTS[0]
    image, known_program = control.get("container", ""), KNOWN_PROGRAMS.get(control.get("program", ""))
    mpi = known_program.mpi_executable if known_program and control.get("mpi") == "True" else ""
    if nodescript != NODESCRIPTS[0] or (image in NONE and not mpi):
        return find_executable(typed, nodescript, settings)
    return launcher(image, typed, mpi)


def launcher(image: str, program: str, mpi: str = "") -> Path:
    """Return a file that runs a program in a container, or under mpirun, or both; or the program, if it is neither.

    Parameters
    ----------
    image: the container; "" or none for none.
    mpi: the version of the program for mpirun; "" to run the program itself.

    Raises
    ------
    PipelineError
        If there is no such program, engine or image.
    """
    words = [MPIRUN, mpi] if mpi else [program]
    state = ""
    if image not in NONE and not is_reference(image) and is_program(image):
        words, image = [*words[:-1], image], ""
    if image in NONE:
        image, words = "", [str(find(word)) for word in words]
        if len(words) == 1:
            return Path(words[0])
    elif problem := image_problem(image):
        raise PipelineError(problem)
    elif is_reference(image):
        image = pull_image(image)
    else:
        if Path(engine := find_engine()).name == DOCKER:
            raise PipelineError(
                f"{engine} takes no container files, as {image} is; install apptainer, or name a program"
            )
        image = str(Path(image).resolve())
        facts = Path(image).stat()
        state = f"# {facts.st_size} {facts.st_mtime_ns}\n"  # a changed image is a changed program
    command = shlex.join([sys.executable, "-P", "-m", __spec__.name, image, *words, BETWEEN])
    text = f'#!/bin/sh\n{state}exec {command} "$@"\n'
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    path = cache_directory() / LAUNCHERS / digest / Path(words[-1]).name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
            path.chmod(0o755)
    except OSError as err:
        raise PipelineError(f"{path}: the launcher of {words[-1]} cannot be written: {io_problem(err)}") from err
    return path


def is_launcher(program: Path) -> bool:
    """Return whether a file is a launcher, and not the program itself."""
    return program.parent.parent.name == LAUNCHERS


def engine_command(
    engine: str, image: str, words: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Return the command that runs a program in a container."""
    folders = bound_folders([str(Path.cwd() / "."), *arguments])
    variables = {name: environment[name] for name in VARIABLES if name in environment}
    variables["OPENBLAS_NUM_THREADS"] = "1"
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    if Path(engine).name == DOCKER:
        binds = [word for folder in folders for word in ("-v", f"{folder}:{folder}")]
        user = f"{os.getuid()}:{os.getgid()}"
        return [engine, "run", "--rm", "-u", user, *binds, "-w", str(Path.cwd()), *settings, image, *words, *arguments]
    binds = [word for folder in folders for word in ("--bind", f"{folder}:{folder}")]
    return [engine, "exec", *binds, *settings, image, *words, *arguments]


def bound_folders(arguments: Sequence[str]) -> list[str]:
    """Return the folders of the files and folders that arguments name, as they are written and without links."""
    folders: dict[str, None] = {}
    for word in arguments:
        for path in dict.fromkeys((word, os.path.realpath(word))) if os.path.isabs(word) else ():  # noqa: PTH117
            folder = str(Path(path).parent)
            if Path(folder).is_dir():
                folders[folder if folder != "/" else path] = None
    return list(folders)


def main(argv: Sequence[str]) -> None:
    """Replace this process by the program, in its container if any."""
    place = argv.index(BETWEEN)
    (image, *words), arguments = argv[:place], argv[place + 1 :]
    if arguments and arguments[0] in QUESTIONS:
        words = words[-1:]
    command = [*words, *arguments]
    if image:
        command = engine_command(find_engine(), image, words, arguments, os.environ)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except PipelineError as err:
        sys.exit(str(err))
