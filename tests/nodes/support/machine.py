"""A machine that boots: a network namespace, an overlay on a root file system, and systemd as process 1.

`tests/nodes/cell` gives each pytest worker its own cgroup, and its own process, mount and network namespaces
with the bridge `nodes`. So everything that is created here ends with the worker.
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

CLEAN_ENVIRONMENT = (
    *("env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"),
    *("HOME=/root", "LANG=C.UTF-8"),
)
NETWORK_PREFIX = "10.77.0"  # of machines outside the VPC; the tests have the address ending in .1

CommandResult = subprocess.CompletedProcess[str]


def wait_until(condition: Callable[[], object], timeout: float, description: str, pause: float = 0.1) -> None:
    """Wait until a condition is true.

    Args:
        condition: called repeatedly.
        timeout: in seconds.
        description: what the condition means, for the error message.
        pause: seconds between two calls.

    Raises:
        TimeoutError: the condition is still false at the end.

    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"still false after {timeout} s: {description}")
        time.sleep(pause)


class Machine:
    """A machine in systemd-nspawn. It keeps its disk when it is powered off and booted again.

    Args:
        name: its host name.
        address: its IP address.
        layers: the root file systems below its disk, the upper ones first.
        binds: folders shared from other machines, as over NFS: mount point to source.

    """

    options: tuple[str, ...]  # nspawn options that a kind of machine needs to run containers itself

    def __init__(
        self, name: str, address: str, layers: list[Path], binds: dict[str, Path] | None = None
    ) -> None:
        self.name, self.address, self.binds = name, address, binds or {}
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/run"))
        self.root, self.disk = self.folder / "root", self.folder / "disk"
        self.upper = self.disk / "upper"  # the files that the machine wrote
        self.cgroup = Path(os.environ["CGROUP"], name)
        self.nspawn: subprocess.Popen[bytes] | None = None
        self.mount_disk(layers)
        self.namespace = create_network_namespace(address)

    def mount_disk(self, layers: list[Path]) -> None:
        self.root.mkdir()
        self.disk.mkdir()
        run_on_host("mount", "-t", "tmpfs", "-o", "mode=755,size=4g", "tmpfs", self.disk)
        self.upper.mkdir()
        Path(self.disk, "work").mkdir()
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.upper},workdir={self.disk}/work"
        run_on_host("mount", "-t", "overlay", "-o", options, "overlay", self.root)
        self.write_file("/etc/hostname", f"{self.name}\n")

    def disconnect(self) -> None:
        """Remove the machine from the network, so that another machine can have its address."""
        delete_network_namespace(self.address)

    def set_free_space(self, megabytes: float) -> None:
        """Resize the machine's disk, so that this much space is free."""

        def resize() -> bool:  # fails if the machine has written more since its usage was read
            size = shutil.disk_usage(self.disk).used + int(megabytes * 2**20)
            remount = run_on_host("mount", "-o", f"remount,size={size}", self.disk, check=False)
            return remount.returncode == 0

        wait_until(resize, 10, f"{self.disk} has {megabytes} MB of free space")

    def write_file(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file to the machine's disk from the host."""
        file = self.get_path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)

    def get_path(self, path: str) -> Path:
        """Return the path on the host of a file on the machine's disk."""
        return self.root / path.removeprefix("/")

    def boot(self) -> None:
        """Boot the machine, and wait until systemd has started everything."""
        self.cgroup.mkdir(exist_ok=True)
        command = ["systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}"]
        command += ["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off"]
        command += ["--link-journal=no", "--console=read-only", *self.options]
        command += [f"--bind={source}:{target}" for target, source in self.binds.items()]
        command += [f"--network-namespace-path=/run/netns/{self.namespace}", "--boot"]
        environment = {"UNIFIED_CGROUP_HIERARCHY": "1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        with Path(self.folder, "console").open("ab") as console:
            self.nspawn = subprocess.Popen(
                ["bash", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', self.cgroup, *command],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        wait_until(self.is_systemd_running, 30, "systemd runs")
        self.nsenter("systemctl", "is-system-running", "--wait", check=False)

    def is_systemd_running(self) -> bool:
        pid = self.leader_pid
        return bool(pid) and Path(f"/proc/{pid}/root/run/systemd/private").exists()

    @property
    def leader_pid(self) -> str:
        """The process id, on the host, of the machine's process 1; empty if it does not exist yet."""
        assert self.nspawn is not None
        if self.nspawn.poll() is not None:
            raise RuntimeError(Path(self.folder, "console").read_text(errors="replace"))
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        return children[0] if children else ""

    def nsenter(self, *command: str, check: bool = True, timeout: float = 120) -> CommandResult:
        """Run a command in the machine's namespaces."""
        enter = ("nsenter", "--target", self.leader_pid, "--all", *CLEAN_ENVIRONMENT)
        return run_on_host(*enter, *command, check=check, timeout=timeout)

    def run(
        self,
        *command: str,
        user: str = "root",
        check: bool = True,
        timeout: float = 300,
        **environment: str,
    ) -> CommandResult:
        """Run a command as systemd runs a service: in a clean environment and its own cgroup."""
        options = [f"--property=User={user}"]
        options += [f"--setenv={name}={value}" for name, value in environment.items()]
        systemd_run = ("systemd-run", "--quiet", "--wait", "--collect", "--pipe", *options, "--")
        return self.nsenter(*systemd_run, *command, check=check, timeout=timeout)

    def power_off(self) -> None:
        """Shut the machine down cleanly."""
        assert self.nspawn is not None
        self.nsenter("systemctl", "poweroff", "--no-wall", check=False)
        self.nspawn.wait(60)

    def destroy(self) -> None:
        """Kill the machine, and delete its disk."""
        if self.nspawn and self.nspawn.poll() is None:
            os.kill(int(self.leader_pid), signal.SIGKILL)  # the kernel then ends all of its processes
            self.nspawn.wait(30)
        self.disconnect()
        run_on_host("umount", "--lazy", self.root, self.disk)
        shutil.rmtree(self.folder)
        delete_cgroups = ("find", self.cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+")
        run_on_host(*delete_cgroups, check=False)


def create_network_namespace(address: str) -> str:
    """Create a network namespace with an address on the bridge, routed by the tests. Return its name."""
    namespace, card = f"m{address}", f"v{address}"
    run_on_host("ip", "netns", "add", namespace)
    run_on_host("ip", "link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", namespace)
    run_on_host("ip", "link", "set", card, "master", "nodes", "up")
    router = f"{address.rsplit('.', 2)[0]}.0.1"
    for command in (
        "link set lo up",
        f"address add {address}/16 dev eth0",
        "link set eth0 up",
        f"route add default via {router}",
    ):
        run_on_host("ip", "-netns", namespace, *command.split())
    return namespace


def delete_network_namespace(address: str) -> None:
    """Delete the network namespace of an address, if it exists."""
    run_on_host("ip", "link", "delete", f"v{address}", check=False)
    run_on_host("ip", "netns", "delete", f"m{address}", check=False)


def run_on_host(
    *command: str | Path, check: bool = True, timeout: float = 120, **options: Any
) -> CommandResult:
    """Run a command on the host.

    Args:
        command: the program and its arguments.
        check: whether a status other than 0 is an error.
        timeout: in seconds.
        options: further arguments of `subprocess.run`.

    Raises:
        RuntimeError: the command failed; with its output.

    """
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    if check and result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {result.returncode}\n{result.stdout}")
    return result
