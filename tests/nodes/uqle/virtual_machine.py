"""A machine with a kernel of its own, which takes itself to be in EC2: QEMU without KVM, and Debian's cloud kernel."""

import base64
import contextlib
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.nodes.machine import Completed, wait_for
from tests.nodes.uqle.services import TOOLS, start_tool

SECONDS = 900  # for a boot, on a machine that does other things besides
# By these cloud-init knows EC2. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
IDENTITY = "ec2f0e4c-1111-4222-8333-444455556666"
SMBIOS = [
    "type=0,vendor=Amazon EC2",
    f"type=1,manufacturer=Amazon EC2,product=t3.large,uuid={IDENTITY},serial={IDENTITY}",
    "type=3,asset=Amazon EC2",
]
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off audit=0"


class NotReadyError(Exception):
    """The machine's agent does not answer, or not yet."""


class VirtualMachine:
    """A machine from its first boot on. Its disk is the image, and what it writes lives as long as the machine.

    Args:
        name: of its console and its agent, here.
        address: that it has in the VPC: QEMU's own network takes what the machine sends there.
        mac: of its network card.
        forward: an address and port there that lead to its port of SSH.
        environment: of each of its services.

    """

    def __init__(self, name: str, address: str, mac: str, forward: str = "", **environment: str) -> None:
        self.console_file, self.socket = Path(f"/run/{name}.console"), TOOLS / f"run/{name}.agent"
        variables = "".join(f" systemd.setenv={key}={value}" for key, value in environment.items())
        forwarded = f",hostfwd=tcp:{forward}-:22" if forward else ""
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2"]
        command += ["-m", "2048", "-nodefaults", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
        command += ["-drive", "file=/srv/machine/image,format=raw,if=virtio,snapshot=on,cache=unsafe"]
        command += [
            "-netdev",
            f"user,id=network{forwarded}",
            "-device",
            f"virtio-net-pci,netdev=network,romfile=,mac={mac}",
        ]
        command += ["-chardev", f"socket,id=agent,server=on,wait=off,path=/run/{name}.agent", "-device", "virtio-serial"]
        command += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
        command += [argument for table in SMBIOS for argument in ("-smbios", table)]
        command += ["-kernel", "/srv/machine/kernel", "-initrd", "/srv/machine/initrd", "-append"]
        command += [f"{COMMAND_LINE}{variables}"]
        self.process = start_tool(*command, output=self.console_file, namespace=f"m{address}")

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
                connection.connect(str(self.socket))
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

    def run(self, *command: str, check: bool = True, timeout: float = 120) -> Completed:
        """Run a command on the machine, as root."""
        started = self.ask("guest-exec", path=command[0], arg=command[1:], **{"capture-output": "merged"})
        answer: dict[str, Any] = {}

        def ended() -> bool:
            answer.update(self.ask("guest-exec-status", pid=started["pid"]))
            return bool(answer["exited"])

        wait_for(ended, timeout, f"{command} ended")
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
        if self.process.poll() is not None:
            raise RuntimeError(self.console[-2000:])
        return ""

    def wait_until_booted(self, before: str = "") -> None:
        """Wait until everything that the boot starts, cloud-init included, is done or failed.

        Args:
            before: the boot that it is not.

        """
        wait_for(lambda: self.boot_id() not in ("", before), SECONDS, "the machine runs")
        self.run("/usr/bin/cloud-init", "status", "--wait", check=False, timeout=SECONDS)
        self.run("/usr/bin/systemctl", "is-system-running", "--wait", check=False, timeout=SECONDS)

    def reboot(self) -> None:
        """Start the machine anew, in good order, and wait until it has booted."""
        before = self.boot_id()
        with contextlib.suppress(NotReadyError):
            self.ask("guest-exec", path="/usr/bin/systemctl", arg=["reboot"])
        self.wait_until_booted(before)

    def destroy(self) -> None:
        """Take the machine away, as it is, with its disk."""
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
