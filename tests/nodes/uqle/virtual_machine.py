"""A machine with a kernel of its own, which takes itself to be in EC2: QEMU without KVM, and Debian's cloud kernel."""

import base64
import contextlib
import json
import re
import socket
import subprocess
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
BEFORE_IT_MOUNTS = "The machine is about to mount."  # it says so, and waits for a moment: see `build`
FIRST_BOOT, LATER_BOOT = "first-boot", "later-boot"  # the machine as it was saved in them
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off audit=0"


class NotReadyError(Exception):
    """The machine's agent does not answer, or not yet."""


class VirtualMachine:
    """A machine from its first boot on. Its disk is the image, and what it writes lives as long as the machine.

    Args:
        name: of its console, its disk and its agent, here.
        address: that it has in the VPC: QEMU's own network takes what the machine sends there.
        mac: of its network card.
        forward: an address and port there that lead to its port of SSH.
        environment: of each of its services.

    """

    def __init__(self, name: str, address: str, mac: str, forward: str, **environment: str) -> None:
        self.console_file, self.namespace = Path(f"/run/{name}.console"), f"m{address}"
        self.agent, self.monitor = TOOLS / f"run/{name}.agent", TOOLS / f"run/{name}.monitor"
        variables = "".join(f" systemd.setenv={key}={value}" for key, value in environment.items())
        disk = f"/run/{name}.disk"
        base = ["-b", "/srv/machine/image", "-F", "raw"]
        host("chroot", TOOLS, "qemu-img", "create", "-q", "-f", "qcow2", *base, disk)
        # One processor: a second one has QEMU do half as much again for the same boot.
        self.command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "qemu64", "-m", "2048"]
        self.command += ["-nodefaults", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
        self.command += ["-drive", f"file={disk},if=virtio,cache=unsafe"]
        self.command += ["-netdev", f"user,id=network,hostfwd=tcp:{forward}-:22"]
        self.command += ["-device", f"virtio-net-pci,netdev=network,romfile=,mac={mac}"]
        self.command += ["-chardev", f"socket,id=agent,server=on,wait=off,path=/run/{name}.agent", "-device", "virtio-serial"]
        self.command += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        self.command += ["-qmp", f"unix:/run/{name}.monitor,server=on,wait=off"]
        self.command += [argument for table in SMBIOS for argument in ("-smbios", table)]
        self.command += ["-kernel", "/srv/machine/kernel", "-initrd", "/srv/machine/initrd", "-append"]
        self.command += [f"{COMMAND_LINE}{variables}"]
        self.process = self.start()

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Have QEMU run the machine."""
        return start_tool(*self.command, *options, output=self.console_file, namespace=self.namespace)

    def save_before_it_mounts(self, name: str) -> None:
        """Wait until the boot is about to mount the share, and save the machine as it is at that moment, on its disk.

        Args:
            name: of what is saved.

        Raises:
            RuntimeError: it cannot be saved.

        """
        before = self.console.count(BEFORE_IT_MOUNTS)
        wait_for(lambda: self.fail_when_ended() or self.console.count(BEFORE_IT_MOUNTS) > before, SECONDS, "it is about to mount")
        questions = (
            {"execute": "qmp_capabilities"},
            {"execute": "human-monitor-command", "arguments": {"command-line": f"savevm {name}"}},
        )
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.monitor))
            connection.sendall(b"".join(json.dumps(question).encode() + b"\n" for question in questions))
            answers = (answer for answer in map(json.loads, connection.makefile("rb")) if {"return", "error"} & set(answer))
            said = [answer for _, answer in zip(questions, answers, strict=False)]
        if said != [{"return": {}}, {"return": ""}]:
            raise RuntimeError(f"{name} cannot be saved: {said}")

    def go_back(self, name: str) -> None:
        """Have the machine be as it was when it was saved, and wait until its boot from there on is done."""
        self.destroy()
        self.process = self.start("-loadvm", name)
        self.wait_until_booted()

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
                connection.sendall(b"\xff" + b"".join(json.dumps(question).encode() + b"\n" for question in questions))
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
        self.run("/usr/bin/systemctl", "is-system-running", "--wait", check=False, timeout=SECONDS, pause=2)

    def reboot(self, name: str) -> None:
        """Start the machine anew, in good order, save it before it mounts, and wait until it has booted."""
        before = self.boot_id()
        with contextlib.suppress(NotReadyError):
            self.ask("guest-exec", path="/usr/bin/systemctl", arg=["reboot"])
        self.save_before_it_mounts(name)
        self.wait_until_booted(before)

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
    tries = "echo lost >/shared/file", "mkdir /shared/folder", "cp /etc/hostname /shared/", "mkdir -p /shared/a/b"
    refused = [machine.run("/bin/bash", "-c", command, check=False) for command in tries]
    assert all("Operation not permitted" in done.stdout and done.returncode for done in refused), refused
    assert machine.shell("ls -A /shared") == ""
    return True
