"""AWS services that a machine uses: metadata service and file server; and the root file system for tools."""

import secrets
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.nodes.support.machine import run_on_host, wait_until

METADATA_ADDRESS = "169.254.169.254"
FOLDER_LISTING = ""  # the key of a folder's listing, if it differs from the names in the folder
NAME_SERVER = "10.0.0.2"  # Amazon's name server in a VPC of 10.0.0.0/16
TOOLS_ROOT = Path("/run/tools")
GANESHA_CONFIGURATION = Path(__file__).with_name("ganesha.conf")


def mount_tools(tools: Path) -> None:
    """Mount the root file system with QEMU, the NFS server and the name server as a writable overlay, once.

    Args:
        tools: the folder that `build` created.

    """
    if TOOLS_ROOT.exists():
        return
    run_on_host("mount", "--mkdir", "-t", "tmpfs", "tmpfs", "/run/tools-disk")
    for name in "upper", "work":
        Path("/run/tools-disk", name).mkdir()
    options = f"lowerdir={tools},upperdir=/run/tools-disk/upper,workdir=/run/tools-disk/work"
    run_on_host("mount", "--mkdir", "-t", "overlay", "-o", options, "overlay", TOOLS_ROOT)
    run_on_host("mount", "-t", "proc", "proc", TOOLS_ROOT / "proc")
    Path(TOOLS_ROOT, "etc/hosts").write_text("127.0.0.1 localhost\n")
    Path(TOOLS_ROOT, "etc/resolv.conf").write_text(
        f"nameserver {NAME_SERVER}\n"
    )  # QEMU forwards queries to it
    for folder in "/dev", "/var/tmp":
        run_on_host("mount", "--mkdir", "--rbind", folder, TOOLS_ROOT / folder.removeprefix("/"))


def start_tool(*command: str, output: Path, namespace: str = "") -> subprocess.Popen[bytes]:
    """Start a program of the tools, in a network namespace or in that of the tests."""
    prefix = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    with output.open("ab") as file:
        return subprocess.Popen(
            [*prefix, "chroot", TOOLS_ROOT, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


class FileServer:
    """A running NFS 4.1 server.

    Args:
        namespace: the network namespace to run in.

    """

    share = TOOLS_ROOT / "srv/share"

    def __init__(self, namespace: str) -> None:
        shutil.copy(GANESHA_CONFIGURATION, TOOLS_ROOT / "etc/ganesha/ganesha.conf")
        run_on_host("truncate", "--size=64M", "/run/share")
        run_on_host("mke2fs", "-q", "-t", "ext4", "/run/share")  # the server needs a file system with handles
        run_on_host("mount", "--mkdir", "-o", "loop", "/run/share", self.share)
        log = Path("/run/file-server.log")
        Path(TOOLS_ROOT, "run/ganesha").mkdir()
        command = ["ganesha.nfsd", "-F", "-L", "/dev/stdout", "-p", "/run/ganesha/pid"]
        self.process = start_tool(*command, output=log, namespace=namespace)
        wait_until(lambda: "NFS SERVER INITIALIZED" in log.read_text(), 60, "the file server is ready")
        assert "No export entries" not in log.read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(30)


class MetadataService:
    """EC2's instance metadata service, version 2 only: each request needs a token.

    Args:
        metadata: the tree below `latest`; its leaves are texts.

    """

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.metadata, self.tokens = metadata, set[str]()
        self.served_paths: list[str] = []  # requests with a valid token
        self.refused_paths: list[str] = []  # requests with a wrong token, or without one
        service = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                if self.path != "/latest/api/token" or not ttl:
                    return self.respond(400)
                token = secrets.token_urlsafe()
                service.tokens.add(token)
                return self.respond(200, token.encode())

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") not in service.tokens:
                    service.refused_paths.append(self.path)
                    return self.respond(401)
                service.served_paths.append(self.path)
                body = service.find_body(self.path)
                return self.respond(404) if body is None else self.respond(200, body)

            def log_message(self, *_: object) -> None: ...

        run_on_host("ip", "address", "add", f"{METADATA_ADDRESS}/32", "dev", "lo")
        self.server = ThreadingHTTPServer((METADATA_ADDRESS, 80), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find_body(self, path: str) -> bytes | None:
        """Return the text at a path, or the names in a folder. The first part of the path is the version."""
        value: Any = self.metadata
        for name in path.strip("/").split("/")[1:]:
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        if isinstance(value, dict):
            if FOLDER_LISTING in value:
                return str(value[FOLDER_LISTING]).encode()
            return "\n".join(name + "/" * isinstance(child, dict) for name, child in value.items()).encode()
        return value if isinstance(value, bytes) else str(value).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        run_on_host("ip", "address", "delete", f"{METADATA_ADDRESS}/32", "dev", "lo")
