"""A machine with its own kernel that detects EC2: QEMU without KVM, and Debian's cloud kernel."""

import base64
import contextlib
import io
import json
import re
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.nodes.support.machine import CommandResult, run_on_host, wait_until
from tests.nodes.support.services import TOOLS_ROOT, start_tool

BOOT_TIMEOUT = 900  # seconds; generous, because other machines boot at the same time
# cloud-init detects EC2 by these. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
SYSTEM_UUID = "ec2f0e4c-1111-4222-8333-444455556666"
SMBIOS_TABLES = [
    "type=0,vendor=Amazon EC2",
    f"type=1,manufacturer=Amazon EC2,product=t3.large,uuid={SYSTEM_UUID},serial={SYSTEM_UUID}",
    "type=3,asset=Amazon EC2",
]
# The machine prints these on its console and then waits three seconds: see `build`.
ABOUT_TO_CONFIGURE, ABOUT_TO_MOUNT = "The machine is about to configure.", "The machine is about to mount."
SNAPSHOT = "saved"
MAC = "02:00:00:00:00:01"
# The user data tries to mount for half a minute: long enough with a server, and short without one.
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.setenv=WAIT=30"
# Kernel hardening is slow under emulation, and no test needs it.
COMMAND_LINE += " mitigations=off audit=0 init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off"


class NotReadyError(Exception):
    """The machine's guest agent does not answer, or not yet."""


class VirtualMachine:
    """A running virtual machine. Its disk is deleted with it.

    Args:
        name: of its console, disk and sockets on the host.
        namespace: its network namespace. QEMU sends the machine's traffic from there, and forwards port 22.
        files: the folder with the image, the kernel and the initrd that `build` created.
        processors: their number.
        snapshot: a disk with a saved state, from which the machine continues. Without it, it boots.

    """

    def __init__(
        self, name: str, namespace: str, files: Path, processors: int = 1, snapshot: Path | None = None
    ) -> None:
        self.files = files
        inside = f"/srv/{files.name}"  # the folder in the root file system with QEMU
        if not Path(TOOLS_ROOT, f"srv/{files.name}").exists():
            run_on_host("mount", "--mkdir", "--bind", files, Path(TOOLS_ROOT, f"srv/{files.name}"))
        self.console_file, self.disk = Path(f"/run/{name}.console"), TOOLS_ROOT / f"run/{name}.disk"
        self.agent, self.monitor = TOOLS_ROOT / f"run/{name}.agent", TOOLS_ROOT / f"run/{name}.monitor"
        # Raise the priority a little, because the longest tests wait for this machine.
        # A boot with two processors takes 1.5 times as long as with one. Omit other disks and KVM features: their
        # drivers take a quarter of a boot.
        command = ["nice", "--adjustment=-3", "qemu-system-x86_64", "-machine", "q35,sata=off,smbus=off"]
        command += ["-accel", "tcg", "-cpu", "qemu64,-svm", "-m", "2048", "-smp", str(processors)]
        command += ["-nodefaults", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
        command += ["-drive", f"file=/run/{name}.disk,if=virtio,cache=unsafe"]
        command += ["-netdev", "user,id=network,hostfwd=tcp::22-:22"]
        command += ["-device", f"virtio-net-pci,netdev=network,romfile=,mac={MAC}"]
        command += ["-chardev", f"socket,id=agent,server=on,wait=off,path=/run/{name}.agent"]
        command += ["-device", "virtio-serial"]
        command += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        command += ["-qmp", f"unix:/run/{name}.monitor,server=on,wait=off"]
        command += [argument for table in SMBIOS_TABLES for argument in ("-smbios", table)]
        command += ["-kernel", f"{inside}/kernel", "-initrd", f"{inside}/initrd"]
        command += ["-append", COMMAND_LINE]
        if snapshot:
            run_on_host("cp", snapshot, self.disk)
            command += ["-loadvm", SNAPSHOT]
        else:
            image = ["-b", f"{inside}/image", "-F", "raw"]
            create = ["qemu-img", "create", "-q", "-f", "qcow2", *image, f"/run/{name}.disk"]
            run_on_host("chroot", TOOLS_ROOT, *create)
        self.process = start_tool(*command, output=self.console_file, namespace=namespace)

    def save_snapshot(self, announcement: str, path: Path) -> None:
        """Wait for an announcement on the console, then save the machine's disk and state to a file.

        Args:
            announcement: a new one; earlier ones on the console are ignored.
            path: the file. It appears only when it is complete.

        Raises:
            RuntimeError: QEMU cannot save the machine.

        """
        before = self.console.count(announcement)

        def is_announced() -> bool:
            self.raise_if_ended()
            return self.console.count(announcement) > before

        wait_until(is_announced, BOOT_TIMEOUT, announcement)
        self.save(path)

    def save(self, path: Path) -> None:
        """Save the machine's disk and state to a file.

        Args:
            path: the file. It appears only when it is complete.

        Raises:
            RuntimeError: QEMU cannot save the machine.

        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.monitor))
            messages = (json.loads(line) for line in connection.makefile("rb"))

            def execute(command: str, **arguments: str) -> None:
                request = {"execute": command, "arguments": arguments}
                connection.sendall(json.dumps(request).encode() + b"\n")
                response = next(message for message in messages if {"return", "error"} & set(message))
                if response.get("return") not in ({}, ""):
                    raise RuntimeError(f"QEMU cannot save the machine: {response}")

            execute("qmp_capabilities")
            execute("stop")
            execute("human-monitor-command", **{"command-line": f"savevm {SNAPSHOT}"})
            incomplete = path.with_name(f"{path.name}.new")
            run_on_host("cp", self.disk, incomplete)
            incomplete.rename(path)
            execute("cont")

    @property
    def console(self) -> str:
        """The whole console output, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.console_file.read_text(errors="replace"))

    def call_agent(self, command: str, **arguments: Any) -> Any:
        """Execute a command of the guest agent. https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html

        Raises:
            NotReadyError: the agent does not answer.

        """
        sync = {"execute": "guest-sync-delimited", "arguments": {"id": id(arguments)}}
        requests = [sync, {"execute": command, "arguments": arguments}]
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(self.agent))
                body = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
                connection.sendall(b"\xff" + body)
                lines = connection.makefile("rb")
                line = b""
                while not line.endswith(b'{"return": %d}\n' % id(arguments)):
                    line = self.require_line(lines.readline())
                response = json.loads(self.require_line(lines.readline()))
        except OSError as error:
            raise NotReadyError(error) from error
        if "error" in response:
            raise NotReadyError(response["error"])
        return response["return"]

    def require_line(self, line: bytes) -> bytes:
        """Return the line, unless it is empty because the agent closed the connection."""
        if not line:
            raise NotReadyError(f"the agent closed the connection; end of console:\n{self.console[-2000:]}")
        return line

    def run(
        self, *command: str, check: bool = True, timeout: float = 120, pause: float = 0.2
    ) -> CommandResult:
        """Run a command on the machine, as root.

        Args:
            command: an absolute path and its arguments.
            check: whether a status other than 0 is an error.
            timeout: in seconds.
            pause: seconds between two checks whether it has ended; each check costs the machine time.

        Raises:
            RuntimeError: the command failed.

        """
        path, *arguments = command
        options = {"capture-output": "merged"}
        process = self.call_agent("guest-exec", path=path, arg=arguments, **options)
        status: dict[str, Any] = {}

        def has_ended() -> bool:
            status.update(self.call_agent("guest-exec-status", pid=process["pid"]))
            return bool(status["exited"])

        wait_until(has_ended, timeout, f"{command} has ended", pause)
        output = base64.b64decode(status.get("out-data", "")).decode()
        if check and status.get("exitcode") != 0:
            raise RuntimeError(f"{' '.join(command)}: {status}\n{output}")
        return subprocess.CompletedProcess(command, status.get("exitcode", -1), output)

    def run_shell(self, script: str, check: bool = True, timeout: float = 120) -> str:
        """Run a bash script on the machine, and return its output."""
        return self.run("/bin/bash", "-c", script, check=check, timeout=timeout).stdout.strip()

    def write_files(self, files: dict[str, tuple[str, int]]) -> None:
        """Write files to the machine's disk.

        Args:
            files: path to text and mode.

        """
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            for path, (text, mode) in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text.encode()), mode
                tar.addfile(member, io.BytesIO(text.encode()))
        encoded = base64.b64encode(archive.getvalue()).decode()
        self.run_shell(f"base64 --decode <<<{encoded} | tar --extract --gzip --directory /")

    def read_boot_id(self) -> str:
        """Return the unique id of the current boot. It is empty while the agent does not answer."""
        with contextlib.suppress(NotReadyError):
            return self.run_shell("cat /proc/sys/kernel/random/boot_id")
        self.raise_if_ended()
        return ""

    def raise_if_ended(self) -> None:
        """Raise an error if QEMU has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the machine has ended; end of console:\n{self.console[-2000:]}")

    def wait_until_booted(self, previous_boot_id: str = "") -> None:
        """Wait until everything that the boot starts, cloud-init included, has finished or failed.

        Args:
            previous_boot_id: of the boot before this one, which may not have ended yet.

        """

        def is_new_boot() -> bool:
            return self.read_boot_id() not in ("", previous_boot_id)

        wait_until(is_new_boot, BOOT_TIMEOUT, "the machine's agent answers", pause=1)
        # The clock of a machine that continues from a snapshot is late.
        self.run("/usr/bin/date", f"--set=@{time.time()}")
        wait = ("/usr/bin/systemctl", "is-system-running", "--wait")
        self.run(*wait, check=False, timeout=BOOT_TIMEOUT, pause=2)

    def reboot(self) -> str:
        """Start a clean reboot. Return the id of the boot that ends, without waiting for the next one."""
        boot_id = self.read_boot_id()
        with contextlib.suppress(NotReadyError):
            self.call_agent("guest-exec", path="/usr/bin/systemctl", arg=["reboot"])
        return boot_id

    def clone(self, announcement: str, name: str, namespace: str) -> "VirtualMachine":
        """Start a second machine from the state of this one at an announcement (see `save_snapshot`).

        Args:
            announcement: on the console of this machine.
            name: of the clone.
            namespace: the network namespace of the clone.

        """
        snapshot = Path(f"/run/{name}.saved")
        self.save_snapshot(announcement, snapshot)
        clone = VirtualMachine(name, namespace, self.files, snapshot=snapshot)
        snapshot.unlink()  # it uses memory, and the clone has its own copy
        return clone

    def destroy(self) -> None:
        """Kill the machine."""
        self.process.kill()
        self.process.wait(30)


def read_cloud_init_status(machine: VirtualMachine) -> Any:
    """Return the output of `cloud-init status`."""
    return json.loads(machine.run("/usr/bin/cloud-init", "status", "--format=json", check=False).stdout)


def is_share_mounted(machine: VirtualMachine) -> bool:
    """Return whether a file system is mounted at /shared."""
    return machine.run("/usr/bin/findmnt", "--mountpoint", "/shared", check=False).returncode == 0


def is_share_write_protected(machine: VirtualMachine) -> bool:
    """Try to write to /shared as root, as a person and a container would. Check that nothing was written."""
    commands = (
        "echo lost >/shared/file",
        "mkdir /shared/folder",
        "cp /etc/hostname /shared/",
        "mkdir -p /shared/a/b",
    )
    results = [machine.run("/bin/bash", "-c", command, check=False) for command in commands]
    assert all("Operation not permitted" in result.stdout and result.returncode for result in results), (
        results
    )
    assert machine.run_shell("ls -A /shared") == ""
    return True
