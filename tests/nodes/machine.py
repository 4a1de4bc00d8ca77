"""A machine that boots: a network namespace, a disk that is laid over a root file system, and systemd as process 1.

`tests/nodes/cell` gives this process its own namespaces of processes, mounts and network, with the bridge `nodes` in it, and a
cgroup: what is made here is gone when it ends, however it ends.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLEAN = ("env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
NETWORK = "10.77.0"  # of machines that are in no VPC; the tests are .1 of it

Completed = subprocess.CompletedProcess[str]


def wait_for(condition: Callable[[], object], seconds: float, what: str, pause: float = 0.1) -> None:
    """Wait until something is so, and fail when it does not come to be; the pause, in seconds, is between two looks."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not after {seconds} s: {what}")
        time.sleep(pause)


class Machine:
    """A node, which may be powered off and booted again; its disk stays until it is destroyed.

    Args:
        name: its host name.
        address: its address.
        layers: the root file systems that its disk is laid over, the upper ones first.
        binds: folders of other machines that it shares, as by NFS, by where it has them.

    """

    options: tuple[str, ...]  # of nspawn: what this kind of machine needs to run containers itself

    def __init__(
        self, name: str, address: str, layers: list[Path], binds: dict[str, Path] | None = None
    ) -> None:
        self.name, self.address, self.binds = name, address, binds or {}
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/run"))
        self.root, self.disk = self.folder / "root", self.folder / "disk"
        self.upper = self.disk / "upper"  # what the machine wrote
        self.cgroup = Path(os.environ["CGROUP"], name)
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.make_disk(layers)
        self.namespace = plug_in(address)

    def make_disk(self, layers: list[Path]) -> None:
        self.root.mkdir()
        self.disk.mkdir()
        host("mount", "-t", "tmpfs", "-o", "mode=755,size=4g", "tmpfs", self.disk)
        self.upper.mkdir()
        Path(self.disk, "work").mkdir()
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.disk}/work"
        host("mount", "-t", "overlay", "-o", options, "overlay", self.root)
        self.write("/etc/hostname", f"{self.name}\n")

    def unplug(self) -> None:
        """Take the machine off the network, so that another may have its address."""
        unplug(self.address)

    def leave_free(self, megabytes: float) -> None:
        """Leave so much free on the machine's disk."""

        def resized() -> bool:  # the machine may have written more since its use was read
            size = shutil.disk_usage(self.disk).used + int(megabytes * 2**20)
            return host("mount", "-o", f"remount,size={size}", self.disk, check=False).returncode == 0

        wait_for(resized, 10, f"{self.disk} has {megabytes} MB left")

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Put a file onto the disk, from outside."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def path(self, path: str) -> Path:
        """Give a path of the machine's disk as it is seen from outside."""
        return self.root / path.removeprefix("/")

    def boot(self) -> None:
        """Switch the machine on, and wait until systemd has started everything."""
        self.cgroup.mkdir(exist_ok=True)
        command = [
            "systemd-nspawn",
            f"--directory={self.root}",
            f"--machine={self.name}",
            "--register=no",
            "--keep-unit",
        ]
        command += [
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=read-only",
            *self.options,
        ]
        command += [f"--bind={source}:{target}" for target, source in self.binds.items()]
        command += [f"--network-namespace-path=/run/netns/{self.namespace}", "--boot"]
        environment = os.environ | {
            "UNIFIED_CGROUP_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        }
        with Path(self.folder, "console").open("ab") as console:
            self.nspawn = subprocess.Popen(
                ["bash", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', self.cgroup, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_for(
            lambda: self.leader and Path(f"/proc/{self.leader}/root/run/systemd/private").exists(),
            30,
            "systemd runs",
        )
        self.enter("systemctl", "is-system-running", "--wait", check=False)

    @property
    def leader(self) -> str:
        """The machine's process 1, as this machine numbers it."""
        assert self.nspawn is not None
        if self.nspawn.poll() is not None:
            raise RuntimeError(Path(self.folder, "console").read_text(errors="replace"))
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        return children[0] if children else ""

    def enter(self, *command: str, check: bool = True, timeout: float = 120) -> Completed:
        """Run a command among the machine's processes."""
        return host(
            "nsenter", "--target", self.leader, "--all", *CLEAN, *command, check=check, timeout=timeout
        )

    def run(
        self, *command: str, user: str = "root", check: bool = True, timeout: float = 300, **environment: str
    ) -> Completed:
        """Run a command as systemd runs a service: in a clean environment and a cgroup of its own."""
        options = [
            f"--property=User={user}",
            *(f"--setenv={name}={value}" for name, value in environment.items()),
        ]
        return self.enter(
            *("systemd-run", "--quiet", "--wait", "--collect", "--pipe", *options, "--", *command),
            check=check,
            timeout=timeout,
        )

    def power_off(self) -> None:
        """Shut the machine down, in good order."""
        assert self.nspawn is not None
        self.enter("systemctl", "poweroff", "--no-wall", check=False)
        self.nspawn.wait(60)

    def destroy(self) -> None:
        """Take the machine away, as it is, with its disk."""
        if self.nspawn and self.nspawn.poll() is None:
            os.kill(int(self.leader), signal.SIGKILL)  # the kernel ends all of its processes
            self.nspawn.wait(30)
        self.unplug()
        host("umount", "--lazy", self.root, self.disk)
        shutil.rmtree(self.folder)
        host("find", self.cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+", check=False)


def plug_in(address: str) -> str:
    """Make a network namespace that has an address on the bridge, and the tests as its router; give its name."""
    namespace, card = f"m{address}", f"v{address}"
    host("ip", "netns", "add", namespace)
    host("ip", "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    host("ip", "link", "set", card, "master", "nodes", "up")
    router = f"{address.rsplit('.', 2)[0]}.0.1"
    for command in f"link set lo up|address add {address}/16 dev eth0|link set eth0 up|route add default via {router}".split(
        "|"
    ):
        host("ip", "-netns", namespace, *command.split())
    return namespace


def unplug(address: str) -> None:
    """Take a network namespace away again."""
    host("ip", "link", "delete", f"v{address}", check=False)
    host("ip", "netns", "delete", f"m{address}", check=False)


def host(*command: str | Path, check: bool = True, timeout: float = 120, **how: Any) -> Completed:
    """Run a command here; when it fails, say what it said."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, timeout=timeout, **output, **how)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done
