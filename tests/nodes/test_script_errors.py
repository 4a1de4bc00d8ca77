"""A failed boot script reports the cause by its exit status and last line, and leaves no partial files."""

import pytest

from tests.nodes.support.cluster import KEY, KEY_FILE, PACKAGES, SCRIPTS_FOLDER
from tests.nodes.support.machine import wait_until

START_SCRIPT, CONFIGURED_SCRIPT = "on_node_start_ubuntu.sh", "on_node_configured_ubuntu.sh"
SECRET_ARN = "arn:aws:secretsmanager:eu-west-2:123456789012:secret:no-such-secret-AbCdEf"
SLURM_CONF = "/opt/slurm/etc/slurm.conf"

# Holds the locks of apt and dpkg for four seconds, as apt-daily may do while a node boots.
HOLD_APT_LOCKS = """
import fcntl, time
files = [open(path, "w") for path in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend")]
for file in files: fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(4)
"""


def get_last_line(result):
    return result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param([], 64, "the argument is missing", id="missing key"),
        pytest.param([""], 64, "the argument is missing", id="empty key"),
        pytest.param(["short"], 65, "the key has 5 characters", id="short key"),
        pytest.param([SECRET_ARN], 77, f"cannot read the secret {SECRET_ARN}", id="unreadable secret"),
    ],
)
def test_report_invalid_key(new_head_node, key_secret, arguments, status, message):
    environment = {"TRIES": "2", "PAUSE": "0"} | key_secret.environment
    result = new_head_node.run_script(START_SCRIPT, *arguments, **environment)
    assert result.returncode == status, result.stdout
    assert message in get_last_line(result)
    assert not new_head_node.get_path(KEY_FILE).exists()


@pytest.mark.parametrize("script", [START_SCRIPT, CONFIGURED_SCRIPT])
def test_print_errors_to_stdout(new_head_node, script):
    """ParallelCluster discards the standard error of a head node's scripts."""
    new_head_node.copy_script(script)
    result = new_head_node.run("bash", "-c", f"{SCRIPTS_FOLDER}/{script} 2>/dev/null", check=False)
    assert result.returncode in (64, 78)
    assert "ERROR: " in get_last_line(result)


def test_full_disk_leaves_no_partial_key(new_head_node):
    new_head_node.copy_script(START_SCRIPT)
    new_head_node.set_free_space(0)
    result = new_head_node.run(f"{SCRIPTS_FOLDER}/{START_SCRIPT}", KEY, check=False)
    assert result.returncode == 73, result.stdout
    assert f"cannot write {KEY_FILE}" in get_last_line(result)
    assert new_head_node.nsenter("find", "/var/spool/slurm.state", "-type", "f").stdout == ""


@pytest.mark.parametrize("script", [START_SCRIPT, CONFIGURED_SCRIPT])
def test_report_machine_without_cfnconfig(new_head_node, script):
    new_head_node.get_path("/etc/parallelcluster/cfnconfig").unlink()
    result = new_head_node.run_script(script)
    assert result.returncode == 78
    assert "this is not a ParallelCluster node" in get_last_line(result)


def test_report_missing_configuration_and_key(new_head_node):
    result = new_head_node.run_custom_action("OnNodeConfigured")
    message = "ParallelCluster has not configured the head node"
    assert (result.returncode, message in get_last_line(result)) == (78, True)
    new_head_node.write_slurm_configuration()
    result = new_head_node.run_custom_action("OnNodeConfigured")
    message = "run on_node_start_ubuntu.sh first"
    assert (result.returncode, message in get_last_line(result)) == (78, True)


def test_report_unreachable_mirror(configured_head_node):
    configured_head_node.write_file("/etc/apt/sources.list", "deb http://10.77.0.1:9/debian trixie main\n")
    result = configured_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 69, result.stdout
    assert f"cannot install {' '.join(PACKAGES['HeadNode'])}" in get_last_line(result)
    assert "slurm_accounting" not in configured_head_node.get_path(SLURM_CONF).read_text()


def test_report_too_little_space_for_packages(configured_head_node):
    configured_head_node.set_free_space(500)
    result = configured_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 73, result.stdout
    assert "the packages need 1024 MB" in get_last_line(result)


def test_full_disk_keeps_old_configuration(installed_head_node):
    before = installed_head_node.get_path(SLURM_CONF).read_text()
    installed_head_node.copy_script(CONFIGURED_SCRIPT)
    installed_head_node.set_free_space(0)
    result = installed_head_node.run(f"{SCRIPTS_FOLDER}/{CONFIGURED_SCRIPT}", check=False)
    assert result.returncode == 73, result.stdout
    assert "cannot write" in get_last_line(result)
    assert installed_head_node.get_path(SLURM_CONF).read_text() == before


@pytest.mark.parametrize("daemon", ["mariadb", "slurmdbd", "slurmrestd"])
def test_report_daemon_that_does_not_start(installed_head_node, daemon):
    invalid_setting = "'[mariadbd]\nno_such_setting=1' >/etc/mysql/mariadb.conf.d/90-broken.cnf"
    commands = {
        "mariadb": f"echo {invalid_setting}; systemctl stop mariadb",
        "slurmdbd": "mv /opt/slurm/sbin/slurmdbd /opt/slurm/sbin/away",
        "slurmrestd": "systemd-run --quiet busybox httpd -f -p 8082",
    }
    installed_head_node.nsenter("bash", "-c", commands[daemon])
    result = installed_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 70, result.stdout
    assert f"{daemon}.service does not start" in get_last_line(result)


def test_report_database_error(installed_head_node):
    client_settings = "[mariadb-client]\nuser = nobody\n"
    installed_head_node.write_file("/etc/mysql/mariadb.conf.d/90-other.cnf", client_settings)
    result = installed_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 71, result.stdout
    assert "MariaDB refuses to create Slurm's database" in get_last_line(result)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param("slurmdbd.conf", "include slurm_parallelcluster_slurmdbd.conf", id="Database"),
        pytest.param(
            "slurm_parallelcluster.conf",
            "AccountingStorageType=accounting_storage/slurmdbd",
            id="ExternalSlurmdbd",
        ),
    ],
)
def test_keep_accounting_of_parallelcluster(configured_head_node, path, line):
    """ParallelCluster writes these files if the configuration has one of the sections."""
    file = configured_head_node.get_path(f"/opt/slurm/etc/{path}")
    text = f"{file.read_text() if file.exists() else ''}{line}\n"
    file.write_text(text)
    result = configured_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 72, result.stdout
    assert f"{file.name} is not from this script" in get_last_line(result)
    assert file.read_text() == text
    assert configured_head_node.nsenter("systemctl", "cat", "slurmdbd", check=False).returncode != 0
    assert configured_head_node.run("dpkg-query", "--show", "mariadb-server", check=False).returncode != 0


@pytest.mark.parametrize("script", [START_SCRIPT, CONFIGURED_SCRIPT])
def test_report_unreadable_node_type(new_head_node, script):
    for content in "if (", "cfn_region=eu-west-2":
        new_head_node.write_file("/etc/parallelcluster/cfnconfig", f"{content}\n")
        result = new_head_node.run_script(script)
        assert (result.returncode, "does not set cfn_node_type" in get_last_line(result)) == (78, True)


def test_report_unexpected_error(installed_head_node):
    """An unexpected error: the last line of the output has the line number and the command."""
    installed_head_node.write_file("/usr/sbin/usermod", "#!/bin/sh\nexit 65\n", mode=0o755)
    result = installed_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 74, result.stdout
    script = installed_head_node.get_path(f"{SCRIPTS_FOLDER}/{CONFIGURED_SCRIPT}").read_text().splitlines()
    number = next(number for number, text in enumerate(script, 1) if "usermod" in text)
    assert f"ERROR: line {number}: usermod --add-subuids" in get_last_line(result)


def test_wait_for_apt_locks(installed_head_node):
    installed_head_node.nsenter("dpkg", "--purge", "slirp4netns")
    hold = "python3", "-c", HOLD_APT_LOCKS
    installed_head_node.nsenter("systemd-run", "--quiet", "--unit=busy", *hold)
    journal = "journalctl", "--unit=busy"
    wait_until(lambda: "held" in installed_head_node.nsenter(*journal).stdout, 10, "the locks are held")
    result = installed_head_node.run_custom_action("OnNodeConfigured")
    assert result.returncode == 0, result.stdout
    assert "lock" in result.stdout
    query = "dpkg-query", "--show", "--showformat=${Status}", "slirp4netns"
    assert installed_head_node.nsenter(*query).stdout == "install ok installed"
