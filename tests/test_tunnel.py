"""SSH tunnels, with a stand-in for ssh on PATH that forwards ports on this machine."""

import os
import socket
import threading
from pathlib import Path

import pytest

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import ssh
from tests.support import ssh_stand_in

HEAD_NODE = "ip-10-0-0-10.eu-west-2.compute.internal"


@pytest.fixture(autouse=True)
def stand_in(tmp_path, monkeypatch):
    ssh_stand_in.install_tunnel_ssh(tmp_path / "programs", monkeypatch)


@pytest.fixture
def far_end(monkeypatch):
    """A server for port 8082 of the head node. It answers as slurmrestd does to a request without token."""

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 401 UNAUTHORIZED\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("STAND_IN_TARGET", str(server.getsockname()[1]))
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def opened():
    return ssh.open_tunnel("ubuntu@203.0.113.7", Path("cluster.pem"), HEAD_NODE)


def is_gone(path="ssh.pid"):
    try:
        os.kill(int(Path(path).read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def fails():
    with pytest.raises(ClusterError) as caught, opened():
        pass
    assert is_gone()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("far_end")
def test_ssh_opens_a_tunnel_and_nothing_else():
    with opened() as url:
        port = url.rpartition(":")[2]
        arguments = Path("ssh.arguments").read_text().splitlines()
    options = [arguments[at + 1] for at, each in enumerate(arguments) if each == "-o"]
    assert set(options) == {
        "StrictHostKeyChecking=accept-new",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "ConnectTimeout=15",
        "ControlPath=none",
        "ExitOnForwardFailure=yes",
        "ServerAliveInterval=15",
        "LogLevel=INFO",
        "PermitLocalCommand=yes",
        "LocalCommand=echo ready",
    }
    forward = f"127.0.0.1:{port}:{HEAD_NODE}:8082"
    assert arguments[2 * len(options) :] == ["-i", "cluster.pem", "-N", "-L", forward, "ubuntu@203.0.113.7"]


@pytest.mark.usefixtures("far_end")
def test_tunnel_reaches_the_far_end_and_is_closed():
    with opened() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 401")
        assert not is_gone()
    assert is_gone()


@pytest.mark.usefixtures("far_end")
@pytest.mark.parametrize("error", [ClusterError, KeyboardInterrupt, ZeroDivisionError])
def test_tunnel_is_closed_after_an_error(error):
    with pytest.raises(error), opened():
        raise error
    assert is_gone()


@pytest.mark.parametrize(
    "words",
    [
        "ubuntu@203.0.113.7: Permission denied (publickey)",
        "ssh: connect to host 203.0.113.7 port 22: Connection timed out",
    ],
)
def test_refused_login_is_reported_in_sshs_words(monkeypatch, words):
    monkeypatch.setenv("STAND_IN_REFUSES", f"{words}.")
    message = fails()
    assert message.startswith(f"Login failed: ssh cannot log in to ubuntu@203.0.113.7 ({words}). ")
    assert message.endswith("try `ssh -i cluster.pem ubuntu@203.0.113.7`.")


def test_changed_host_key_names_the_next_step(monkeypatch):
    monkeypatch.setenv("STAND_IN_REFUSES", "Host key verification failed.")
    assert "If a new machine has this address, run `ssh-keygen -R 203.0.113.7`" in fails()


def test_closed_port_at_the_far_end(monkeypatch):
    monkeypatch.setenv("STAND_IN_FAILS_TO_CONNECT", "connect failed: Connection refused")
    assert fails().startswith(
        f"Port closed: nothing listens at {HEAD_NODE}:8082, as seen from ubuntu@203.0.113.7 (connect failed"
    )


@pytest.mark.parametrize(
    "why", ["connect failed: No route to host", "administratively prohibited: open failed"]
)
def test_unreachable_far_end(monkeypatch, why):
    monkeypatch.setenv("STAND_IN_FAILS_TO_CONNECT", why)
    message = fails()
    assert message.startswith(f"No route: ubuntu@203.0.113.7 cannot reach {HEAD_NODE}:8082 ({why}). ")
    assert "invoke allow-head-node-group" in message


def test_silent_far_end(monkeypatch):
    monkeypatch.setattr(ssh, "REST_TIMEOUT", 0.2)
    assert f"cannot reach {HEAD_NODE}:8082 (no answer within 0.2 s)" in fails()


def test_missing_ssh_client(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClusterError, match="`ssh` is not on PATH. Install the OpenSSH client."), opened():
        pass


def test_remote_file_is_read():
    Path("a file").write_text("a line\n")
    assert ssh.read_remote_file("ubuntu@203.0.113.7", Path("cluster.pem"), "a file") == "a line\n"


def test_missing_remote_file_is_reported():
    with pytest.raises(ClusterError, match=r"ubuntu@203\.0\.113\.7 cannot read /shared/x .*No such file"):
        ssh.read_remote_file("ubuntu@203.0.113.7", Path("cluster.pem"), "/shared/x")
