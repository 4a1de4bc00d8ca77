"""What a machine in AWS finds around it: the metadata service and the file server. And the root file system that they run in."""

import secrets
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.nodes.machine import host, wait_for

METADATA = "169.254.169.254"
LISTING = ""  # what a folder lists instead of the names in it
NAME_SERVER = "10.0.0.2"  # Amazon's, in a VPC of 10.0.0.0/16
TOOLS = Path("/run/tools")
CONFIGURATION = Path(__file__).with_name("ganesha.conf")


def mount_tools(tools: Path, folder: Path) -> None:
    """Mount the root file system with QEMU and the NFS server, so that nothing is written into it.

    Args:
        tools: where it was built.
        folder: what is in /srv/machine there.

    """
    host("mount", "--mkdir", "-t", "tmpfs", "tmpfs", "/run/tools-disk")
    for name in "upper", "work":
        Path("/run/tools-disk", name).mkdir()
    options = f"lowerdir={tools},upperdir=/run/tools-disk/upper,workdir=/run/tools-disk/work"
    host("mount", "--mkdir", "-t", "overlay", "-o", options, "overlay", TOOLS)
    host("mount", "-t", "proc", "proc", TOOLS / "proc")
    Path(TOOLS, "etc/hosts").write_text("127.0.0.1 localhost\n")
    Path(TOOLS, "etc/resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")  # QEMU hands it on
    for source, target in (("/dev", "dev"), ("/var/tmp", "var/tmp"), (str(folder), "srv/machine")):
        host("mount", "--mkdir", "--rbind", source, TOOLS / target)


def start_tool(*command: str, output: Path, namespace: str = "") -> subprocess.Popen[bytes]:
    """Start a program among the tools, in a network namespace where one is named."""
    where = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    with output.open("ab") as file:
        return subprocess.Popen(
            [*where, "chroot", TOOLS, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


class FileServer:
    """A server of NFS 4.1, which serves.

    Args:
        namespace: the network namespace that it serves in.

    """

    share = TOOLS / "srv/share"

    def __init__(self, namespace: str) -> None:
        shutil.copy(CONFIGURATION, TOOLS / "etc/ganesha/ganesha.conf")
        host("truncate", "--size=64M", "/run/share")
        host("mke2fs", "-q", "-t", "ext4", "/run/share")  # the server wants a file system with handles
        host("mount", "--mkdir", "-o", "loop", "/run/share", self.share)
        log = Path("/run/file-server.log")
        Path(TOOLS, "run/ganesha").mkdir()
        command = ["ganesha.nfsd", "-F", "-L", "/dev/stdout", "-p", "/run/ganesha/pid"]
        self.process = start_tool(*command, output=log, namespace=namespace)
        wait_for(lambda: "NFS SERVER INITIALIZED" in log.read_text(), 60, "the file server serves")
        assert "No export entries" not in log.read_text()

    def stop(self) -> None:
        """Be away."""
        self.process.kill()
        self.process.wait(30)


class MetadataService:
    """EC2's metadata service, which insists on the tokens of its second version.

    Args:
        metadata: a tree, whose leaves are texts, without `latest`.

    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.metadata, self.tokens = metadata, set[str]()
        self.served: list[str] = []  # to a good token
        self.refused: list[str] = []  # to another one, or none
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                if self.path != "/latest/api/token" or not self.headers.get(
                    "X-aws-ec2-metadata-token-ttl-seconds"
                ):
                    return self.answer(400)
                token = secrets.token_urlsafe()
                service.tokens.add(token)
                return self.answer(200, token.encode())

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") not in service.tokens:
                    service.refused.append(self.path)
                    return self.answer(401)
                service.served.append(self.path)
                found = service.find(self.path)
                return self.answer(404) if found is None else self.answer(200, found)

            def log_message(self, *_: object) -> None: ...

        host("ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        self.server = ThreadingHTTPServer((METADATA, 80), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find(self, path: str) -> bytes | None:
        """Give what is at a path below the version: a text, or the names in a folder."""
        found: Any = self.metadata
        for name in path.strip("/").split("/")[1:]:
            if not isinstance(found, dict) or name not in found:
                return None
            found = found[name]
        if isinstance(found, dict):
            if LISTING in found:
                return str(found[LISTING]).encode()
            return "\n".join(name + "/" * isinstance(below, dict) for name, below in found.items()).encode()
        return found if isinstance(found, bytes) else str(found).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        host("ip", "address", "delete", f"{METADATA}/32", "dev", "lo")
