"""Any content of a file or setting is either used unchanged, or refused with a message before anything changes."""

import functools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import chevron
import pytest
import yaml
from chevron.main import main as chevron_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invoke import Exit
from invoke.config import Config

from sandbox.rehearsal import INVOKE
from slurm_cluster import cli, files
from slurm_cluster.aws import clients
from slurm_cluster.config import cluster_config, parameters, temp_config, template
from slurm_cluster.config.settings import FILES, validate_environment, validate_settings_file
from slurm_cluster.errors import ClusterError
from slurm_cluster.project import Project
from slurm_cluster.steps import preflight
from tests.support import ROOT, SETTINGS
from tests.support.in_process import run_task
from tests.support.valid_files import GOOD_PARAMETERS, GOOD_TEMP_CONFIG

PARAMETERS, TEMP_CONFIG, CONFIG = Path("config-parameters.json"), Path("temp-config.yml"), Path("config.yml")
TEMPLATE = ROOT / "config.template.yml"
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))  # number of random examples; by default a few fixed ones
many = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Text that people and programs write, and that other programs read wrongly.
PIECES = [
    "'",
    '"',
    "&",
    "<",
    ">",
    "{{",
    "}}",
    "{{{ AWS_REGION }}}",
    "\n",
    "\r\n",
    ": ",
    " #",
    "\t",
    "\\",
    "\0",
    "\ufeff",
]
PIECES += [
    "\u2028",
    "\u00e9",
    "\ud800",
    "\U0001d54a",
    "*a",
    "&a",
    "!!int",
    "%",
    "- ",
    "x" * 5000,
    "null",
    "~",
    "yes",
    "1e3",
    "${X}",
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=5).map("".join)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
good_texts = st.sampled_from(sorted(GOOD_PARAMETERS.values())).flatmap(
    lambda good: st.just(good) | texts.map(lambda more: good + more)
)

# Contents of invalid files, as bytes.
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "empty": b"",
    "not UTF-8": b'{"AWS_REGION": "\xff\xfe"}',
    "a BOM": "\ufeff{}".encode(),
    "CRLF": b'{\r\n"AWS_REGION":\r\n"eu-west-2"}\r\n',
    "half": b'{"AWS_REGION": "eu-w',
    "nested deeply": b"[" * 20_000,
    "nulls": b"\0" * 100,
    "a list": b"[1, 2]",
    "a bomb of aliases": BOMB.encode(),
    "itself": b"&a {Region: *a, HeadNode: *a, Scheduling: *a}",
    "a tag that does not fit": b"Region: !!bool x",
    "two documents": b"--- {}\n--- {}\n",
    "values of other kinds": b'{"Region": [], "HeadNode": 7, "Scheduling": {"SlurmQueues": "abc"}}',
    "too large": b" " * 1_000_001,
    "a date that does not exist": b"Region: 2001-99-99",
    "parameters of other kinds": b'{"AWS_REGION": {}, "SSH_FROM": 1, "CLUSTER_NAME": [], "SSH_KEY_PAIR": 7}',
}


def check_message(error: BaseException) -> str:
    """Check the form of an error message, and return it: sentences, indented lists, and not too long."""
    message = str(error)
    first, *others = message.split("\n")
    assert first.endswith((".", ")", ":"))
    assert all(line.startswith("  ") or line.endswith((".", ")", ":")) for line in others)
    if first.endswith(":"):
        assert all(fault.startswith("  ") for fault in others[:-1])
        # A single fault is on the first line. Two lines are faults, without a hint.
        assert len(others) != 2 or others[-1].startswith("  ")
    assert message.replace("\n", "").isprintable()
    assert len(message) < 2500
    return message


def get_refusal(ask: Callable[[], object]) -> str:
    """Return the message of a refusal, or an empty string."""
    try:
        ask()
    except ClusterError as error:
        return check_message(error)
    return ""


# --- parameter files ----------------------------------------------------------------------------------------


def write_unusual_json(content: object) -> st.SearchStrategy[str]:
    """Return forms of a value in JSON, and some that only look like JSON."""
    ways = [
        json.dumps(content),
        json.dumps(content, ensure_ascii=False, indent=2),
        json.dumps(content, indent="\t"),
        json.dumps(content).replace("\n", "\r\n") + "\r\n",
        "\ufeff" + json.dumps(content),
        json.dumps(content)[:-1],
        json.dumps(content)[:-1] + ', "AWS_REGION": "eu-west-2"}',
        yaml.safe_dump(json.loads(json.dumps(content))) if "\\ud" not in json.dumps(content) else "",
    ]
    return st.sampled_from(ways)


@many
@given(
    changed=st.dictionaries(
        st.sampled_from(sorted(GOOD_PARAMETERS)) | texts, good_texts | values, max_size=3
    ),
    data=st.data(),
)
def test_parameter_file_renders_as_chevron_does_or_is_refused(changed, data):
    text = data.draw(write_unusual_json(GOOD_PARAMETERS | changed))
    PARAMETERS.write_bytes(text.encode(errors="surrogatepass"))
    CONFIG.unlink(missing_ok=True)
    _, refused = run_task("render", cluster_name="one")
    if refused:
        assert "config-parameters.json" in check_message(ClusterError(refused))
        assert not CONFIG.exists()
        return
    stood = json.loads(text.removeprefix("\ufeff"))
    marked = chevron.render(
        TEMPLATE.read_text(), {name: f"@{name}@" if value else "" for name, value in stood.items()}
    )
    assert yaml.safe_load(CONFIG.read_bytes()) == insert_values(yaml.safe_load(marked), stood)
    assert CONFIG.read_text() == chevron_command(template=str(TEMPLATE), data=str(PARAMETERS))


def insert_values(tree: object, stood: dict[str, str]) -> object:
    """Replace the placeholders in a tree by the values of the file."""
    if isinstance(tree, dict):
        return {key: insert_values(branch, stood) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [insert_values(branch, stood) for branch in tree]
    for name, value in stood.items() if isinstance(tree, str) else ():
        tree = tree.replace(f"@{name}@", value)
    return tree


BUCKETS = [
    "a..b",
    "192.168.5.4",
    "xn--bucket",
    "sthree-x",
    "amzn-s3-demo-x",
    "ab",
    "a_b",
    ".bucket",
    "b" * 64,
    "b\u00fccket",
]
BUCKETS += [
    "bucket\n",
    *(f"bucket{end}" for end in ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3", ".", "-")),
]
REFUSED = {
    "BOOTSTRAP_BUCKET": BUCKETS,
    "CUSTOM_BOOT_ACTION_START": [
        *(f"s3://{bucket}/x.sh" for bucket in BUCKETS),
        *(
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/\u00e9",
            f"s3://bucket/{'k' * 1025}",
            "S3://bucket/x",
            "s3:///x",
            "http://h/x",
        ),
        *(
            "https://host",
            "https:///x",
            "https://-a/x",
            "https://a..b/x",
            "https://u:p@host/x",
            f"https://{'h' * 64}/x",
        ),
    ],
    "PUBLIC_SUBNET": [
        "subnet-1",
        "subnet-0123456789",
        "subnet-0123456789ABCDEF0",
        "subnet-01234567\n",
        "vpc-01234567",
    ],
    "SSH_FROM": [
        *(
            "::/0",
            "2001:db8::1/128",
            "0.0.0.1/0",
            "1.2.3.4/24",
            "1.2.3.4/33",
            "01.2.3.4/32",
            "1.2.3.0/255.255.255.0",
            "1.2.3/24",
        ),
        *("pl-1", "pl-0123456789", "1.2.3.4/32,5.6.7.8/32", "1.2.3.4", "everybody"),
    ],
    "AWS_REGION": ["eu-west-\u0662", "eu-west", "EU-WEST-2", "eu-west-2a", "eu-west-2\n"],
    "SLURM_JWT_KEY": [
        "arn:aws:iam::123456789012:role/of-another-kind",
        "k" * 31,
        "k" * 1025,
        "k " * 32,
        "\u00e9" * 32,
    ],
    "SLURM_JWT_POLICY": [
        f"arn:aws:iam::{chr(0x661) * 12}:policy/x",
        "arn:aws:iam::123456789012:policy/",
        "arn:aws:iam::1:role/x",
    ],
    "CLUSTER_NAME": ["", "-a", "1a", "a_b", "a.b", "\u00e9", "a" * 41, "a\n"],
}
TAKEN = {
    "BOOTSTRAP_BUCKET": ["a.b", "abc", "b" * 63, "1.2.3", "a-s3alias-b", "192.168.5.4.a", "a--b", ""],
    "CUSTOM_BOOT_ACTION_START": [
        "s3://a.b/c/d.sh",
        "https://10.0.0.1:8443/x?y=%20&z#f",
        "https://a-b.org/~x/",
        f"s3://abc/{'k' * 1024}",
    ],
    "PUBLIC_SUBNET": ["subnet-01234567", "subnet-0123456789abcdef0"],
    "SSH_FROM": ["1.2.3.4/32", "0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "pl-01234567"],
    "AWS_REGION": ["us-gov-west-1", "ap-southeast-7"],
    "SLURM_JWT_KEY": ["k" * 32, "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:a/b-AbCdEf"],
    "SLURM_JWT_POLICY": ["arn:aws-us-gov:iam::aws:policy/service-role/x+=,.@-", ""],
    "CLUSTER_NAME": ["a", "A-1-", "a" * 40],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, wrong in REFUSED.items() for value in wrong]
)
def test_invalid_parameters_are_refused(name, value):
    [fault] = parameters.validate_value(name, value)
    assert parameters.RULES[name].allowed in fault


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, right in TAKEN.items() for value in right]
)
def test_valid_parameters_are_accepted(name, value):
    assert parameters.validate_value(name, value) == []


# --- settings -----------------------------------------------------------------------------------------------


@many
@given(
    changed=st.dictionaries(st.sampled_from(sorted(SETTINGS)), values, max_size=3), uqle=st.none() | values
)
def test_settings_of_any_type_are_accepted_or_refused(changed, uqle):
    project = {
        **SETTINGS,
        **changed,
        **({} if uqle is None else {"uqle": {**SETTINGS["uqle"], "volume_gib": uqle}}),
    }
    if not get_refusal(lambda: Project(project)):
        p = Project(project)
        assert [
            isinstance(path, Path)
            for path in (p.temp_config, p.parameter_file, p.config_file, p.handover_file)
        ]
        for ask in (lambda: p.key_pair, p.get_ssh_from, p.get_uqle_settings, lambda: p.region):
            get_refusal(ask)


@many
@given(
    whole=values
    | st.dictionaries(st.sampled_from([*SETTINGS, "run", "tasks", "cluster"]), values).map(
        lambda x: SETTINGS | x
    )
)
def test_invoke_yaml_of_any_content_is_accepted_or_refused(whole):
    Path("invoke.yaml").write_text(yaml.safe_dump(whole))
    if get_refusal(lambda: validate_settings_file(Path("invoke.yaml"))):
        return
    config = Config(project_location=".")
    config.load_project()
    config.load_shell_env()


def test_broken_invoke_yaml_is_refused_without_traceback(tmp_path):
    for name in ("tasks.py", "slurm_cluster"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [str(Path(sys.executable).with_name("invoke")), "--search-root", str(tmp_path), "--list"]
    (tmp_path / "invoke.yaml").write_text("cluster_name: [")
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "invoke.yaml is not YAML" in answer.stderr


def test_unknown_setting_is_refused_with_the_valid_ones():
    for variable in ("INVOKE_CLUSTER", "INVOKE_UQLE", "INVOKE_CLUSTERNAME", "INVOKE_uqle_volume"):
        with pytest.raises(
            ClusterError,
            match=rf"{variable} is not a setting\. The settings are cluster_name, .*uqle_mount_point",
        ):
            validate_environment({variable: "x"})
    Path("two.yaml").write_text("key_pai: a\nuqle: {typ: b}\n")
    with pytest.raises(ClusterError) as refused:
        validate_settings_file(Path("two.yaml"))
    first, second, hint = str(refused.value).split("\n")
    assert first == "'key_pai' in two.yaml is not a setting."
    assert second == "'typ' in two.yaml is not a setting."
    assert hint.startswith("The settings are cluster_name, ")
    validate_environment(
        {
            "INVOKE_CLUSTER_NAME": "x",
            "INVOKE_UQLE_VOLUME_GIB": "9",
            "INVOKE_RUN_ECHO": "1",
            "INVOKE_DEBUG": "1",
        }
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "value", ["", "/", "a/", "..", ".", "a\0b", "a\nb", "\udcff", "n" * 256, 7, ["a"], {"a": "b"}, True]
)
def test_invalid_file_name_is_refused(name, value):
    with pytest.raises(ClusterError, match=name) as error:
        Project(SETTINGS | {name: value})
    check_message(error.value)


def test_two_settings_cannot_name_the_same_file():
    with pytest.raises(ClusterError, match="parameter_file and config_file name the same file"):
        Project(SETTINGS | {"config_file": str(Path.cwd() / "config-parameters.json")})


# --- temp-config.yml and config.yml -------------------------------------------------------------------------

TREE = yaml.safe_load(GOOD_TEMP_CONFIG)


@st.composite
def mangle(draw: st.DrawFn, tree: object) -> object:
    """Return a tree with changed or missing values."""
    if draw(st.integers(0, 5)) == 0:
        return draw(values)
    if isinstance(tree, dict):
        return {key: draw(mangle(branch)) for key, branch in tree.items() if draw(st.integers(0, 9))}
    return [draw(mangle(branch)) for branch in tree] if isinstance(tree, list) else tree


@many
@given(tree=mangle(TREE))
def test_temp_config_of_any_content_is_read_or_refused(tree):
    TEMP_CONFIG.write_text(yaml.safe_dump(tree))
    refused = get_refusal(lambda: temp_config.read_temp_config(TEMP_CONFIG))
    if refused:
        assert "temp-config.yml" in refused
        return
    found = temp_config.read_temp_config(TEMP_CONFIG)
    assert found.region == tree["Region"]
    assert found.private_subnet == tree["Scheduling"]["SlurmQueues"][0]["Networking"]["SubnetIds"][0]
    assert (found.key_pair, found.public_subnet) == (
        tree["HeadNode"]["Ssh"]["KeyName"],
        tree["HeadNode"]["Networking"]["SubnetId"],
    )


@many
@given(tree=mangle(yaml.safe_load(template.render_template(TEMPLATE, GOOD_PARAMETERS, PARAMETERS))))
def test_config_of_any_content_is_passed_to_pcluster_or_refused(tree):
    CONFIG.write_text(yaml.safe_dump(tree))

    class FullBucket:
        """An S3 in which every object exists."""

        def head_object(self, **_: str) -> None: ...

    refused = get_refusal(
        lambda: preflight.check_configuration(
            cluster_config.load(CONFIG), CONFIG, "one", "eu-west-2", FullBucket()
        )
    )
    assert "config.yml" in refused or not refused


# --- invalid files, for every task --------------------------------------------------------------------------


def as_folder(path: Path) -> None:
    path.mkdir()


def as_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def as_loop(path: Path) -> None:
    path.symlink_to(path)


def as_fifo(path: Path) -> None:
    os.mkfifo(path)


def as_unreadable(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # even root cannot read its beginning


def as_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


WAYS = {
    "a folder": as_folder,
    "a dangling link": as_dangling_link,
    "a loop of links": as_loop,
    "unreadable": as_unreadable,
    "a FIFO": as_fifo,
}
WAYS |= {name: as_bytes(content) for name, content in BROKEN.items()}
READERS = {
    PARAMETERS: ["check", "fill_parameters", "render", "create_cluster", "status", "delete_network"],
    TEMP_CONFIG: ["check", "fill_parameters", "status", "configure"],
    CONFIG: ["create_cluster", "update_cluster"],
}


@pytest.mark.parametrize("file", READERS)
def test_no_task_ends_in_a_traceback_for_any_file(file, account, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "run_command", refuse_program)
    monkeypatch.setattr(
        clients, "make_client", functools.cache(clients.make_client)
    )  # creating clients takes most of the time
    for number, make in enumerate(WAYS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        make(file)
        for name in READERS[file]:
            run_task(name, cluster_name="one")  # fails the test if it raises anything but Exit
        assert os.listdir() == [str(file)]


def refuse_program(*_: object, **__: object) -> None:
    raise Exit("Here pcluster would be started.")


# --- full disks and killed processes -------------------------------------------------------------------------


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes a file; the configuration has more


def test_full_disk_keeps_the_old_file(account, invoke):
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS))
    CONFIG.write_text("good")
    command = [*INVOKE, "render"]
    answer = subprocess.run(
        command,
        env={**os.environ, "INVOKE_CLUSTER_NAME": "one"},
        preexec_fn=small_files,
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stderr) == (1, "Cannot write config.yml: File too large.\n")
    assert CONFIG.read_text() == "good"
    assert sorted(os.listdir()) == ["config-parameters.json", "config.yml"]


FULL = """
mount -t tmpfs -o size=16k none full && cp config-parameters.json full && cd full && printf good >config.yml
cat /dev/zero >fill 2>/dev/null || "$@" || { ls -A && cat config.yml; }
"""


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may make a file system; the test above has a limit in its place"
)
def test_full_file_system_keeps_the_old_file(account):
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS))
    Path("full").mkdir()
    command = [*INVOKE, "render"]
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL, "sh", *command],
        env={**os.environ, "INVOKE_CLUSTER_NAME": "one"}, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.stderr == "Cannot write config.yml: No space left on device.\n"
    assert answer.stdout == "config-parameters.json\nconfig.yml\nfill\ngood"


def test_read_only_folder_is_reported(account):
    PARAMETERS.write_text(json.dumps(GOOD_PARAMETERS))
    assert run_task("render", cluster_name="one", config_file="/proc/config.yml")[1].startswith(
        "Cannot write /proc/config.yml: "
    )


def test_killed_write_leaves_the_old_or_the_new_file(tmp_path):
    writer = (
        "from pathlib import Path; from slurm_cluster import files\n"
        "while True:\n for letter in 'ab': files.write_file(Path('f'), letter * 3_000_000)"
    )
    for kill in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", writer], env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        while not (Path("f").exists() and list_temporary_files()):
            time.sleep(0.001)
        time.sleep(kill * 0.001)
        process.kill()
        process.wait()
        assert Path("f").read_text() in ("a" * 3_000_000, "b" * 3_000_000)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in list_temporary_files())
    files.write_file(Path("f"), "whole")
    assert os.listdir() == ["f"]


def list_temporary_files() -> list[Path]:
    """Return the temporary files of the file."""
    return [path for path in Path().iterdir() if path.name != "f"]
