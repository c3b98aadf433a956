"""A real sshd on the loopback interface, for the tests that need hosts: started once per session, ended after it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 60.0
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
HOSTS = ("n1", "n2", "n3")  # three names of one server


def start_server(home: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a server that lets this user in with a key of its own; return it, and a configuration for ``ssh -F``."""
    assert SSHD is not None
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = [f"ListenAddress=127.0.0.1:{port}", f"HostKey={home}/host", f"AuthorizedKeysFile={home}/user.pub"]
    settings += ["StrictModes=no", "PermitRootLogin=yes", "UsePAM=no", f"PidFile={home}/sshd.pid", "MaxStartups=100"]
    command = [SSHD, "-D", "-e", "-f", "/dev/null", *(f"-o{setting}" for setting in settings)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, stderr=log)
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.05)
    config = home / "ssh_config"
    config.write_text(
        f"Host {' '.join(HOSTS)}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {home}/user\n"
        f"  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile {home}/known\n  LogLevel ERROR\n"
    )
    return server, config


@pytest.fixture(scope="session")
def ssh_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration with which ``ssh -F`` gets to the hosts n1, n2 and n3; skips where there is no sshd."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd here: apt-get install openssh-server")
    server, config = start_server(tmp_path_factory.mktemp("sshd"))
    yield config
    server.terminate()
    server.wait()
