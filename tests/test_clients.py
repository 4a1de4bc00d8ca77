"""`invoke token` and `invoke tunnel`."""

import os
import re
import subprocess
from pathlib import Path

import jwt
import pytest

from sandbox.rehearsal import INVOKE
from slurm_cluster import cli
from slurm_cluster.errors import ClusterError
from slurm_cluster.project import Project
from slurm_cluster.steps import access, clients
from tests.support import SETTINGS, in_process, ssh_stand_in
from tests.support.slurmrestd import KEY, Slurmrestd, run_server
from tests.support.terminal import CTRL_C, Terminal

FILE = Path("alice.token")


@pytest.fixture
def p(monkeypatch):
    monkeypatch.setattr(Project, "read_jwt_key", lambda _: KEY)
    return Project(SETTINGS)


def read_claims(token):
    return jwt.decode(token, KEY, algorithms=["HS256"])


def test_token_for_a_pipe_is_all_that_is_printed(p, capsys):
    clients.create_token(p, "slurm", "8", "")
    printed = capsys.readouterr()
    claims = read_claims(printed.out.strip())
    assert (claims["sun"], claims["exp"] - claims["iat"]) == ("slurm", 8 * 3600)
    assert printed.out.count("\n") == 1
    assert printed.err == ""


def test_token_in_a_file_is_for_its_owner_only(p, capsys):
    clients.create_token(p, "alice", "720", str(FILE))
    claims = read_claims(FILE.read_text().strip())
    assert (claims["sun"], claims["exp"] - claims["iat"]) == ("alice", 720 * 3600)
    assert FILE.stat().st_mode & 0o777 == 0o600
    assert "eyJ" not in capsys.readouterr().out


def test_token_is_not_shown_on_a_terminal(p, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(ClusterError, match="Pass --output FILE"):
        clients.create_token(p, "slurm", "8", "")
    assert "eyJ" not in capsys.readouterr().out
    clients.create_token(p, "slurm", "8", str(FILE))


@pytest.mark.parametrize("hours", ["0", "721", "-1", "abc", "", "1.5", "8h", "\u0663"])
def test_lifetime_is_1_to_720_hours(p, hours):
    with pytest.raises(ClusterError, match="^--hours is .* and must be a whole number from 1 to 720"):
        clients.create_token(p, "slurm", hours, "")


def test_no_flag_is_a_number_for_invoke(p):
    """Invoke would show a traceback for other text, so the steps parse numbers themselves."""
    steps = [step for step in vars(in_process.TASKS).values() if isinstance(step, cli.Step)]
    kinds = {argument.kind for step in steps for argument in step.get_arguments()}
    assert kinds == {str, bool}
    with pytest.raises(ClusterError, match='^--seconds is "abc", and must be a whole number from 1 to 86400'):
        access.verify(p, "", "slurm", "abc")


def test_dry_run_reads_no_key(monkeypatch, capsys):
    monkeypatch.setattr(Project, "read_jwt_key", None)
    clients.create_token(Project(SETTINGS, dry_run=True), "slurm", "8", "")
    assert capsys.readouterr().out == "would sign a token of user slurm for 8 hours\n"


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_port_is_a_number(p, port):
    with pytest.raises(ClusterError, match="^--port is .* from 1 to 65535"):
        clients.keep_tunnel_open(p, port)


def test_used_port_is_refused_before_ssh_starts(p):
    with run_server(Slurmrestd(None)) as server, pytest.raises(ClusterError) as error:
        clients.keep_tunnel_open(p, str(server.server_port))
    assert str(error.value) == (
        f"Cannot listen on port {server.server_port} of this machine (Address already in use). "
        "Choose another with --port."
    )


@pytest.mark.parametrize("flags", [[], ["--uqle"]])
def test_ssh_forwards_a_port(invoke, flags):
    printed = invoke("-R", "ssh", *flags, "--forward", "2323").stdout.replace(" \\\n    ", " ")
    assert f"{Path.home()}/.ssh/pcluster-ubuntu.pem -L 127.0.0.1:2323:127.0.0.1:2323 " in printed
    refused = invoke("-R", "ssh", *flags, "--forward", "uqle")
    assert refused.returncode == 1
    assert '--forward is "uqle", and must be a whole number from 1 to 65535.' in refused.printed


def test_handover_names_the_api_on_the_uqle_machine(cluster, invoke, ec2):
    assert "UQLE API host  not known without a UQLE machine\n" in invoke("handover").stdout
    assert invoke("connect-uqle").returncode == 0
    machines = ec2.describe_instances(Filters=[{"Name": "tag:slurm-cluster", "Values": ["pcluster-ubuntu"]}])
    address = machines["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
    assert f"UQLE API host  http://{address}:2323\n" in invoke("handover").stdout
    assert f"\nUQLE_API_HOST=http://{address}:2323\n" in Path("uqle.env").read_text()


@pytest.fixture
def tunnel(cluster, invoke, tmp_path, monkeypatch, project):
    """Run `invoke tunnel` in a terminal; it leads to slurmrestd."""
    programs = tmp_path / "programs"
    ssh_stand_in.install_tunnel_ssh(programs, monkeypatch)
    (programs / "invoke").write_text(f'#!/bin/sh\nexec {" ".join(INVOKE)} "$@"\n')
    (programs / "invoke").chmod(0o755)
    assert invoke("create-jwt-key").returncode == 0
    server = Slurmrestd(None)
    server.key = project.read_jwt_key()
    with run_server(server):
        monkeypatch.setenv("STAND_IN_TARGET", str(server.server_port))
        with run_server(Slurmrestd(None)) as unused:
            port = unused.server_port
        yield Terminal([*INVOKE, "tunnel", "--port", str(port)])


def test_tunnel_is_open_until_ctrl_c(tunnel):
    tunnel.wait_for(r"curl .*/jobs/\r\n")
    [command] = re.findall(r"  (curl .*)\r\n", tunnel.written)
    assert command.endswith("/slurm/v0.0.45/jobs/")
    # the stand-in has no /jobs/; /diag needs a valid token
    command = command.replace("/jobs/", "/diag")
    answer = subprocess.run(["bash", "-c", f"{command} --silent"], capture_output=True, text=True, check=True)
    assert '"req_time"' in answer.stdout
    tunnel.type(CTRL_C)
    assert tunnel.end() == 0
    assert tunnel.lines[-2].endswith("Closed the tunnel.")
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("ssh.pid").read_text()), 0)


def test_broken_tunnel_is_reported(tunnel):
    tunnel.wait_for(r"curl .*/jobs/\r\n")
    os.kill(int(Path("ssh.pid").read_text()), 9)
    assert tunnel.end() == 1
    assert "The tunnel ended: ssh exited with status -9." in tunnel.written.replace("\r\n", " ")
