"""A machine with a kernel of its own, which takes itself to be in EC2: QEMU without KVM, and Debian's cloud kernel."""

import base64
import contextlib
import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.nodes.machine import Completed, host, wait_for
from tests.nodes.uqle.services import TOOLS, start_tool

SECONDS = 900  # for a boot, on a machine that does other things besides
# By these cloud-init knows EC2. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
IDENTITY = "ec2f0e4c-1111-4222-8333-444455556666"
SMBIOS = [
    "type=0,vendor=Amazon EC2",
    f"type=1,manufacturer=Amazon EC2,product=t3.large,uuid={IDENTITY},serial={IDENTITY}",
    "type=3,asset=Amazon EC2",
]
# It says so, each time, and waits for a moment: see `build`.
ABOUT_TO_CONFIGURE, ABOUT_TO_MOUNT = "The machine is about to configure.", "The machine is about to mount."
SAVED = "saved"
MAC = "02:00:00:00:00:01"
# Its script tries for half a minute to mount: that is long with the server there, and short without it.
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.setenv=WAIT=30"
# What takes time under emulation, and no test asks for: what hardens a kernel.
COMMAND_LINE += " mitigations=off audit=0 init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off"


class NotReadyError(Exception):
    """The machine's agent does not answer, or not yet."""


class VirtualMachine:
    """A machine that is switched on. What it writes onto its disk lives as long as the machine.

    Args:
        name: of its console, its disk and its sockets, here.
        namespace: of the network that it is in: QEMU's own takes what the machine sends there, and leads its port of SSH in.
        saved: a machine that was saved, as which this one goes on; without it, the machine boots from the image.

    """

    def __init__(self, name: str, namespace: str, saved: Path | None = None) -> None:
        self.console_file, self.disk = Path(f"/run/{name}.console"), TOOLS / f"run/{name}.disk"
        self.agent, self.monitor = TOOLS / f"run/{name}.agent", TOOLS / f"run/{name}.monitor"
        # One processor: a second one has QEMU do half as much again for the same boot. No disks but the one, and nothing of KVM,
        # whose drivers are a quarter of a boot. It goes a little before what else runs here: all that takes longest waits for it.
        command = ["nice", "--adjustment=-3", "qemu-system-x86_64", "-machine", "q35,sata=off,smbus=off"]
        command += ["-accel", "tcg", "-cpu", "qemu64,-svm", "-m", "2048"]
        command += ["-nodefaults", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
        command += ["-drive", f"file=/run/{name}.disk,if=virtio,cache=unsafe"]
        command += ["-netdev", "user,id=network,hostfwd=tcp::22-:22"]
        command += ["-device", f"virtio-net-pci,netdev=network,romfile=,mac={MAC}"]
        command += [
            "-chardev",
            f"socket,id=agent,server=on,wait=off,path=/run/{name}.agent",
            "-device",
            "virtio-serial",
        ]
        command += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        command += ["-qmp", f"unix:/run/{name}.monitor,server=on,wait=off"]
        command += [argument for table in SMBIOS for argument in ("-smbios", table)]
        command += [
            "-kernel",
            "/srv/machine/kernel",
            "-initrd",
            "/srv/machine/initrd",
            "-append",
            COMMAND_LINE,
        ]
        if saved:
            host("cp", saved, self.disk)
            command += ["-loadvm", SAVED]
        else:
            image = ["-b", "/srv/machine/image", "-F", "raw"]
            host("chroot", TOOLS, "qemu-img", "create", "-q", "-f", "qcow2", *image, f"/run/{name}.disk")
        self.process = start_tool(*command, output=self.console_file, namespace=namespace)

    def save(self, moment: str, path: Path) -> None:
        """Wait until the machine says that it is about to do something, and save it as it is then, in a file.

        Args:
            moment: what it says, and has not said before it was asked to be saved.
            path: the file, made whole or not at all.

        Raises:
            RuntimeError: it cannot be saved.

        """
        before = self.console.count(moment)
        wait_for(lambda: self.fail_when_ended() or self.console.count(moment) > before, SECONDS, moment)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.monitor))
            answers = (json.loads(line) for line in connection.makefile("rb"))

            def tell(command: str, **arguments: str) -> None:
                connection.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
                answer = next(answer for answer in answers if {"return", "error"} & set(answer))
                if answer.get("return") not in ({}, ""):
                    raise RuntimeError(f"the machine cannot be saved: {answer}")

            tell("qmp_capabilities")
            tell("stop")
            tell("human-monitor-command", **{"command-line": f"savevm {SAVED}"})
            copy = path.with_name(f"{path.name}.new")
            host("cp", self.disk, copy)
            copy.rename(path)
            tell("cont")

    @property
    def console(self) -> str:
        """All that the machine has said on its console, without colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.console_file.read_text(errors="replace"))

    def ask(self, name: str, **arguments: Any) -> Any:
        """Ask the machine's agent. https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html

        Raises:
            NotReadyError: it does not answer.

        """
        questions = [{"execute": "guest-sync-delimited", "arguments": {"id": id(arguments)}}]
        questions += [{"execute": name, "arguments": arguments}]
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(self.agent))
                connection.sendall(
                    b"\xff" + b"".join(json.dumps(question).encode() + b"\n" for question in questions)
                )
                answers = connection.makefile("rb")
                line = b""
                while not line.endswith(b'{"return": %d}\n' % id(arguments)):
                    line = answers.readline() or self.gone()
                answer = json.loads(answers.readline() or self.gone())
        except OSError as error:
            raise NotReadyError(error) from error
        if "error" in answer:
            raise NotReadyError(answer["error"])
        return answer["return"]

    def gone(self) -> bytes:
        """Say that the agent ended the conversation."""
        raise NotReadyError(f"the agent hung up; the machine said last:\n{self.console[-2000:]}")

    def run(self, *command: str, check: bool = True, timeout: float = 120, pause: float = 0.2) -> Completed:
        """Run a command on the machine, as root; each look whether it ended keeps the machine busy for a moment."""
        started = self.ask("guest-exec", path=command[0], arg=command[1:], **{"capture-output": "merged"})
        answer: dict[str, Any] = {}

        def ended() -> bool:
            answer.update(self.ask("guest-exec-status", pid=started["pid"]))
            return bool(answer["exited"])

        wait_for(ended, timeout, f"{command} ended", pause)
        output = base64.b64decode(answer.get("out-data", "")).decode()
        if check and answer.get("exitcode") != 0:
            raise RuntimeError(f"{' '.join(command)}: {answer}\n{output}")
        return subprocess.CompletedProcess(command, answer.get("exitcode", -1), output)

    def shell(self, script: str, check: bool = True, timeout: float = 120) -> str:
        """Run lines of bash on the machine, and give what they print."""
        return self.run("/bin/bash", "-c", script, check=check, timeout=timeout).stdout.strip()

    def boot_id(self) -> str:
        """Give what tells one boot from another; nothing while the machine does not answer."""
        with contextlib.suppress(NotReadyError):
            return self.shell("cat /proc/sys/kernel/random/boot_id")
        self.fail_when_ended()
        return ""

    def fail_when_ended(self) -> None:
        """Wait no longer for a machine that is gone."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the machine has ended; it said last:\n{self.console[-2000:]}")

    def wait_until_booted(self, before: str = "") -> None:
        """Wait until everything that the boot starts, cloud-init included, is done or failed.

        Args:
            before: the boot that it is not.

        """
        wait_for(lambda: self.boot_id() not in ("", before), SECONDS, "the machine runs", pause=1)
        self.run("/usr/bin/date", f"--set=@{time.time()}")  # it may have been saved long ago
        self.run("/usr/bin/systemctl", "is-system-running", "--wait", check=False, timeout=SECONDS, pause=2)

    def reboot(self) -> str:
        """Have the machine start anew, in good order; give the boot that ends, and do not wait for the next."""
        before = self.boot_id()
        with contextlib.suppress(NotReadyError):
            self.ask("guest-exec", path="/usr/bin/systemctl", arg=["reboot"])
        return before

    def twin(self, moment: str, name: str, namespace: str) -> "VirtualMachine":
        """Have another machine go on from a moment of this one (see `save`), in a network of its own."""
        saved = Path(f"/run/{name}.saved")
        self.save(moment, saved)
        twin = VirtualMachine(name, namespace, saved)
        saved.unlink()  # it is in memory, and the twin has a copy
        return twin

    def destroy(self) -> None:
        """Take the machine away, as it is."""
        self.process.kill()
        self.process.wait(30)


def cloud_init(machine: VirtualMachine) -> Any:
    """Give what cloud-init says of the boot."""
    return json.loads(machine.run("/usr/bin/cloud-init", "status", "--format=json", check=False).stdout)


def is_mounted(machine: VirtualMachine) -> bool:
    """Say whether the share is mounted."""
    return machine.run("/usr/bin/findmnt", "--mountpoint", "/shared", check=False).returncode == 0


def no_file_can_be_written(machine: VirtualMachine) -> bool:
    """Try, as root, what a person and a container would, and look at the disk."""
    tries = (
        "echo lost >/shared/file",
        "mkdir /shared/folder",
        "cp /etc/hostname /shared/",
        "mkdir -p /shared/a/b",
    )
    refused = [machine.run("/bin/bash", "-c", command, check=False) for command in tries]
    assert all("Operation not permitted" in done.stdout and done.returncode for done in refused), refused
    assert machine.shell("ls -A /shared") == ""
    return True
