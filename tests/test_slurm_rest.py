"""The REST client against a stand-in for slurmrestd that checks tokens and answers as Slurm does."""

import logging
import re
import socket
import threading
from pathlib import Path

import jwt
import pytest

from slurm_cluster.errors import ClusterError
from slurm_cluster.slurm import rest_client
from slurm_cluster.slurm.smoke_job import run_smoke_job
from tests.support.slurmrestd import KEY, Slurmrestd, run_server


@pytest.fixture
def shared(tmp_path):
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


@pytest.fixture
def slurm(shared, monkeypatch):
    monkeypatch.setattr(rest_client, "LAG_SECONDS", 0.1)
    with run_server(Slurmrestd(shared)) as server:
        yield server


@pytest.fixture(autouse=True)
def check_for_secrets(capfd, caplog, request):
    """Check that neither the key nor a token is in output, logs or errors."""
    caplog.set_level(logging.DEBUG)
    yield
    said = "".join(capfd.readouterr()) + caplog.text + "".join(getattr(request.node, "said", []))
    assert KEY not in said
    assert not re.search(r"eyJ[\w-]+\.", said)


def run(request, url, key=KEY, **options):
    lines = request.node.said = []
    lines.extend(re.sub(r" {2,}", " ", line) for line in run_smoke_job(url, key, pause=0.01, **options))
    return lines


@pytest.fixture
def get_lines(request):
    return lambda url, **options: run(request, url, **options)


@pytest.fixture
def get_error(request):
    """Return a function that runs the smoke job, which must fail, and returns its message."""

    def run_until_error(url, **options):
        with pytest.raises(ClusterError) as caught:
            run(request, url, **options)
        request.node.said.append(repr(caught.value) + repr(caught.value.__cause__))
        assert caught.value.__cause__ is None
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run_until_error


def test_each_link_is_one_line(slurm, get_lines, shared):
    lines = get_lines(slurm.url, read_output=lambda path: (shared / Path(path).name).read_text())
    assert lines == [
        f"route {slurm.url} answers",
        "slurmrestd API v0.0.45, the newest of 0.0.9, 0.0.42, 0.0.45",
        "token accepted, for user slurm",
        "partition up: queue1",
        "submit job 7 is accepted",
        "job 7 is PENDING on queue1-dy-1",
        "job 7 is RUNNING CONFIGURING on queue1-dy-1: a compute node is booting, which takes minutes",
        "job 7 is RUNNING on queue1-dy-1",
        "job 7 is COMPLETED on queue1-dy-1",
        "output /shared/verify-slurm.txt, read on another machine",
        "accounting job 7: COMPLETED, exit status 0",
    ]


def test_token_is_hs256_and_short_lived(slurm, get_lines):
    get_lines(slurm.url, user="ubuntu")
    for *_, token, _ in slurm.requests:
        claims = jwt.decode(token, KEY, algorithms=["HS256"])
        assert (set(claims), claims["sun"], claims["exp"] - claims["iat"]) == (
            {"iat", "exp", "sun"},
            "ubuntu",
            300,
        )


def test_without_reader_the_job_reads_its_own_output(slurm, get_lines, shared):
    lines = get_lines(slurm.url)
    assert "output /shared/verify-slurm.txt, read only by the job on its own node" in lines
    assert [file.name for file in shared.iterdir()] == ["verify-slurm.txt"]


def test_proxies_do_not_see_the_token(slurm, get_lines, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert get_lines(slurm.url)[-1].startswith("accounting")


def test_redirects_do_not_get_the_token(slurm, get_error):
    with run_server(Slurmrestd(None)) as other:

        def redirect(request):
            request.send_response_only(302)
            request.send_header("Location", other.url)
            request.send_header("Content-Length", "0")
            request.end_headers()

        slurm.answers["GET /openapi/vN"] = redirect
        assert f"another program answers at {slurm.url} (302)" in get_error(slurm.url)
        assert other.requests == []


def test_closed_port(get_error):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert get_error(f"http://127.0.0.1:{port}").startswith(
        f"Port closed: nothing listens at http://127.0.0.1:{port}, so slurmrestd"
    )


def test_no_route(get_error, monkeypatch):
    monkeypatch.setattr(rest_client, "CONNECT_TIMEOUT", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
    ):
        filled = [socket.socket() for _ in range(3)]
        for each in filled:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        said = get_error(f"http://127.0.0.1:{full.getsockname()[1]}")
        for each in filled:
            each.close()
    assert re.match(r"No route: http://127\.0\.0\.1:\d+ did not respond within 10 s\.", said)
    assert "Leave out --url to use a tunnel" in said


def test_unknown_host_name(get_error, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert get_error("http://ip-10-0-0-10.eu-west-2.compute.internal:8082").startswith(
        "No route: cannot resolve the name in http://ip-10-0"
    )


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (None, "slurmrestd hangs: "),
        (b"", "slurmrestd is down: "),
        (b"SSH-2.0-OpenSSH_9.6p1\r\n", "Not slurmrestd: no HTTP answer from http://127.0.0.1:"),
    ],
    ids=["hangs", "ends the connection", "speaks another protocol"],
)
def test_invalid_answer(get_error, monkeypatch, reply, says):
    monkeypatch.setattr(rest_client, "RESPONSE_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                if reply is None:
                    connection.recv(1)
                else:
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        assert get_error(f"http://127.0.0.1:{server.getsockname()[1]}").startswith(says)
        thread.join()


@pytest.mark.parametrize(
    "answer", [(404, "<html>nginx"), (200, []), (200, {"paths": {"/pets": {}}}), (503, "")], ids=str
)
def test_other_server_than_slurmrestd(slurm, get_error, answer):
    slurm.answers["GET /openapi/vN"] = answer
    assert get_error(slurm.url).startswith(
        f"Not slurmrestd: another program answers at {slurm.url} ({answer[0]}"
    )


def test_slurmrestd_that_refuses_all_tokens(slurm, get_error):
    slurm.answers["GET /openapi/vN"] = (401, "Authentication failure")
    said = get_error(slurm.url)
    assert said.startswith("Token refused: slurmrestd accepts no tokens (401 Authentication failure)")
    assert "SLURM_JWT=daemon" in said


@pytest.mark.parametrize("refusal", [511, 500, 401])
def test_wrong_key(slurm, get_error, refusal):
    slurm.key, slurm.refusal_status = "another-key-_0123456789-abcdefghijklmnopqrst", refusal
    assert f"Token refused: the JWT key is not the head node's key ({refusal} Protocol auth" in get_error(
        slurm.url
    )


def test_a_key_with_a_newline_is_another_key(slurm, get_error):
    assert get_error(slurm.url, key=KEY + "\n").startswith(
        "Token refused: the JWT key is not the head node's key"
    )


def test_clock_behind(slurm, get_error):
    slurm.seconds_ahead = 4000
    said = get_error(slurm.url)
    assert re.match(r"Token refused: the clock here is (4000|3999) s behind the head node's", said)
    probes = [jwt.decode(token, options={"verify_signature": False}) for *_, token, _ in slurm.requests]
    assert {claims["sun"] for claims in probes if claims["exp"] - claims["iat"] > 300} == {"nobody"}


def test_refused_user(slurm, get_error):
    slurm.refused_users = ("slurm",)
    assert get_error(slurm.url).startswith("Token refused: the key is right, but Slurm refuses user slurm")


def test_slurmctld_down(slurm, get_error):
    slurm.answers["GET /slurm/diag"] = (
        502,
        {"errors": [{"error": "Unable to contact slurm controller (connect failure)"}]},
    )
    assert get_error(slurm.url).startswith(
        "slurmctld is down: slurmrestd cannot reach it (502 Unable to contact"
    )


@pytest.mark.parametrize(
    ("partitions", "known"),
    [
        ([], "there are none"),
        ([{"name": "queue1", "partition": {"state": ["INACTIVE"]}}], "queue1 is INACTIVE"),
    ],
    ids=["none", "stopped fleet"],
)
def test_no_partition(slurm, get_error, partitions, known):
    slurm.answers["GET /slurm/partitions/"] = (200, {"errors": [], "partitions": partitions})
    assert get_error(slurm.url).startswith(
        f"No partition: no partition of Slurm is up ({known}). "
        "If the compute fleet was stopped, start it with `invoke resume`."
    )


@pytest.mark.parametrize(
    ("status", "error", "link"),
    [
        (500, {"error_number": 2000, "error": "Invalid partition name specified"}, "No partition"),
        (422, {"error_number": 2001, "error": "No partition specified"}, "No partition"),
        (200, {"error_number": 2015, "error": "Access/permission denied"}, "Job rejected"),
        (500, {"error_number": 7000, "error": "Slurmdb query failed"}, "No accounting"),
    ],
    ids=str,
)
def test_rejected_job_even_with_status_200(slurm, get_error, status, error, link):
    slurm.answers["POST /slurm/job/submit"] = (status, {"errors": [error], "job_id": 0})
    assert get_error(slurm.url).startswith(
        f"{link}: Slurm did not accept the job ({status} {error['error']})"
    )


def test_accepted_job_with_a_warning(slurm, get_lines):
    def submit(request):
        sun = request.verify_token()["sun"]
        body = slurm.requests[-1][-1]
        request.reply(
            200,
            slurm.answer("POST", "/slurm/job/submit", body, sun)
            | {"errors": [{"error": "Node not available"}]},
        )

    slurm.answers["POST /slurm/job/submit"] = submit
    assert get_lines(slurm.url)[-1].startswith("accounting")


def describe_job(slurm, **fields):
    """Set fields in the stand-in's description of the submitted job."""

    def describe(request):
        request.reply(200, {"errors": [], "jobs": [{"name": slurm.jobs[-1]["name"]} | fields]})

    slurm.answers["GET /slurm/job/N"] = describe


@pytest.mark.parametrize(
    ("states", "code", "says"),
    [
        (["FAILED"], 1, "Job failed: job 7 ended on queue1-dy-1 (FAILED, exit status 1, NonZeroExitCode). "),
        (["NODE_FAIL"], 0, "Job failed: job 7 ended on queue1-dy-1 (NODE_FAIL, exit status 0, "),
        (["FAILED"], 73, "No output: job 7 cannot write /shared/verify-slurm.txt on queue1-dy-1. "),
        (["FAILED"], 74, "No output: job 7 cannot read back /shared/verify-slurm.txt on queue1-dy-1. "),
    ],
    ids=str,
)
def test_failed_job(slurm, get_error, states, code, says):
    exit_code = {"return_code": {"set": True, "number": code}}
    reason = "NonZeroExitCode"
    describe_job(slurm, job_state=states, state_reason=reason, exit_code=exit_code, nodes="queue1-dy-1")
    assert get_error(slurm.url).startswith(says)


def test_missing_folder_is_reported_by_the_job(slurm, get_error):
    assert get_error(slurm.url, directory="/shared/not/there").startswith(
        "No output: job 7 cannot write /shared/not/there/verify"
    )


def test_endless_job_is_cancelled(slurm, get_error):
    describe_job(slurm, job_state=["PENDING"], state_reason="Resources")
    said = get_error(slurm.url, seconds=0)
    assert said.startswith("Job does not end: job 7 is PENDING (Resources) after 0 s. ")
    assert said.endswith("To wait longer, pass --seconds.")
    assert slurm.requests[-1][:2] == ("DELETE", "/slurm/v0.0.45/job/7")


def test_held_job_is_cancelled_at_once(slurm, get_error):
    describe_job(slurm, job_state=["PENDING"], state_reason="JobHeldAdmin")
    assert get_error(slurm.url, user="nobodyatall").startswith(
        "Job held: job 7 is PENDING (JobHeldAdmin). The head node may have no"
    )
    assert slurm.requests[-1][0] == "DELETE"


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"errors": [], "jobs": [{"name": "another", "job_state": ["COMPLETED"]}]}),
        (500, {"errors": [{"error_number": 2017, "error": "Invalid job id specified"}], "jobs": []}),
    ],
    ids=["number reused", "number unknown"],
)
def test_forgotten_job_is_lost_and_no_other_is_cancelled(slurm, get_error, answer):
    """For example because slurmctld crashed seconds after it accepted the job."""
    slurm.answers["GET /slurm/job/N"] = answer
    assert get_error(slurm.url).startswith("Job lost: slurmctld accepted job 7, verify-")
    assert "DELETE" not in {method for method, *_ in slurm.requests}


def test_interrupt_cancels_the_job(slurm):
    lines = run_smoke_job(slurm.url, KEY, pause=0.01)
    while "submit" not in next(lines):
        pass
    lines.close()
    assert slurm.requests[-1][0] == "DELETE"


def test_ended_job_is_not_cancelled(slurm, get_lines):
    get_lines(slurm.url)
    assert "DELETE" not in {method for method, *_ in slurm.requests}


@pytest.mark.parametrize(
    "answer",
    [
        (502, {"errors": [{"error": "Unable to connect to database"}], "jobs": []}),
        (200, {"errors": [{"error": "Unable to connect to database"}]}),
        (404, "Unable to find requested URL"),
        (200, {"jobs": [{"name": "another", "state": {"current": ["COMPLETED"]}}]}),
    ],
    ids=["502", "200 with errors", "without slurmdb", "another job of that number"],
)
def test_no_accounting(slurm, get_error, answer):
    slurm.answers["GET /slurmdb/job/N"] = answer
    assert get_error(slurm.url).startswith(
        f"No accounting: slurmdbd does not have job 7 after 0.1 s ({answer[0]} "
    )


def test_slurmctld_without_accounting(slurm, get_error):
    slurm.answers["GET /slurm/partitions/"] = (
        500,
        {"errors": [{"error": "Connection refused", "description": "Slurmdb query failed"}]},
    )
    assert get_error(slurm.url).startswith(
        "No accounting: slurmctld did not return partitions (500 Connection refused"
    )


def test_output_unseen_by_the_other_machine(slurm, get_error):
    def absent(path):
        raise ClusterError(f"{path} is not there.")

    assert "(/shared/verify-slurm.txt is not there)" in get_error(slurm.url, read_output=absent)


def test_output_of_an_earlier_run_is_not_accepted(slurm, get_error):
    said = get_error(slurm.url, read_output=lambda _: "0123456789abcdef\n")
    assert said.startswith(
        "No output: cannot read what the job wrote to /shared/verify-slurm.txt (its content is different)"
    )


def test_echoed_token_and_key_are_not_printed(slurm, get_error):
    slurm.answers["GET /openapi/vN"] = lambda r: r.reply(
        500, f"\x1b[31m{r.headers['X-SLURM-USER-TOKEN']} {KEY}", "text/plain"
    )
    assert "(500 [31m(token) (key))" in get_error(slurm.url).replace("  ", " ").replace("( ", "(").replace(
        "500  ", "500 "
    )


@pytest.mark.parametrize(
    "key", ["", "short", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"]
)
def test_invalid_key_is_refused_before_any_request(slurm, get_error, key):
    assert get_error(slurm.url, key=key).endswith("Create one with `invoke create-jwt-key`.")
    assert slurm.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"url": "head-node:8082"},
        {"url": "http://me:secret@head-node:8082"},
        {"user": "a\nb"},
        {"directory": "/a; rm -r /"},
    ],
    ids=str,
)
def test_invalid_arguments_are_refused_before_any_request(slurm, get_error, options):
    assert get_error(**{"url": slurm.url} | options)
    assert slurm.requests == []
