"""Faults end a boot script with a status of their own, and a last line that names the cause; nothing half done looks whole."""

import pytest

from tests.nodes.cluster import KEY, KEY_FILE, PACKAGES, SCRIPTS
from tests.nodes.machine import wait_for

SECRET = "arn:aws:secretsmanager:eu-west-2:123456789012:secret:no-such-secret-AbCdEf"


def last_line(done):
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param([], 64, "the argument is missing", id="a missing key"),
        pytest.param([""], 64, "the argument is missing", id="an empty key"),
        pytest.param(["short"], 65, "the key has 5 characters", id="a short key"),
        pytest.param([SECRET], 77, f"cannot read the secret {SECRET}", id="a secret that cannot be read"),
    ],
)
def test_the_start_names_what_is_wrong_with_the_key(new_head, secret, arguments, status, said):
    done = new_head.script("on_node_start_ubuntu.sh", *arguments, TRIES="2", PAUSE="0", **secret.environment)
    assert done.returncode == status, done.stdout
    assert said in last_line(done)
    assert not new_head.path(KEY_FILE).exists()


@pytest.mark.parametrize("script", ["on_node_start_ubuntu.sh", "on_node_configured_ubuntu.sh"])
def test_a_fault_is_told_on_standard_output_because_a_head_nodes_standard_error_is_dropped(new_head, script):
    new_head.copy_script(script)
    done = new_head.run("bash", "-c", f"{SCRIPTS}/{script} 2>/dev/null", check=False)
    assert done.returncode in (64, 78)
    assert "ERROR: " in last_line(done)


def test_the_start_leaves_no_half_key_on_a_full_disk(new_head):
    new_head.copy_script("on_node_start_ubuntu.sh")
    new_head.leave_free(0)
    done = new_head.run(f"{SCRIPTS}/on_node_start_ubuntu.sh", KEY, check=False)
    assert done.returncode == 73, done.stdout
    assert f"cannot write {KEY_FILE}" in last_line(done)
    assert new_head.enter("find", "/var/spool/slurm.state", "-type", "f").stdout == ""


@pytest.mark.parametrize("script", ["on_node_start_ubuntu.sh", "on_node_configured_ubuntu.sh"])
def test_a_machine_that_is_no_node_of_parallelcluster_is_left_alone(new_head, script):
    new_head.path("/etc/parallelcluster/cfnconfig").unlink()
    done = new_head.script(script)
    assert done.returncode == 78
    assert "this is not a ParallelCluster node" in last_line(done)


def test_the_configuration_wants_slurms_configuration_and_the_key(new_head):
    done = new_head.action("OnNodeConfigured")
    assert (done.returncode, "ParallelCluster has not configured the head node" in last_line(done)) == (78, True)
    new_head.configure_files()
    done = new_head.action("OnNodeConfigured")
    assert (done.returncode, "run on_node_start_ubuntu.sh first" in last_line(done)) == (78, True)


def test_a_missing_package_mirror_is_named(configured_head):
    configured_head.write("/etc/apt/sources.list", "deb http://10.77.0.1:9/debian trixie main\n")
    done = configured_head.action("OnNodeConfigured")
    assert done.returncode == 69, done.stdout
    assert f"cannot install {' '.join(PACKAGES['HeadNode'])}" in last_line(done)
    assert "slurm_accounting" not in configured_head.path("/opt/slurm/etc/slurm.conf").read_text()


def test_a_disk_without_room_for_the_packages_is_named(configured_head):
    configured_head.leave_free(500)
    done = configured_head.action("OnNodeConfigured")
    assert done.returncode == 73, done.stdout
    assert "the packages need 1024 MB" in last_line(done)


def test_a_full_disk_is_named_and_the_old_configuration_stays(installed_head):
    before = installed_head.path("/opt/slurm/etc/slurm.conf").read_text()
    installed_head.copy_script("on_node_configured_ubuntu.sh")
    installed_head.leave_free(0)
    done = installed_head.run(f"{SCRIPTS}/on_node_configured_ubuntu.sh", check=False)
    assert done.returncode == 73, done.stdout
    assert "cannot write" in last_line(done)
    assert installed_head.path("/opt/slurm/etc/slurm.conf").read_text() == before


@pytest.mark.parametrize("daemon", ["mariadb", "slurmdbd", "slurmrestd"])
def test_a_daemon_that_does_not_come_up_is_named(installed_head, daemon):
    breaks = {
        "mariadb": "echo '[mariadbd]\nno_such_setting=1' >/etc/mysql/mariadb.conf.d/90-broken.cnf; systemctl stop mariadb",
        "slurmdbd": "mv /opt/slurm/sbin/slurmdbd /opt/slurm/sbin/away",
        "slurmrestd": "systemd-run --quiet busybox httpd -f -p 8082",
    }
    installed_head.enter("bash", "-c", breaks[daemon])
    done = installed_head.action("OnNodeConfigured")
    assert done.returncode == 70, done.stdout
    assert f"{daemon}.service does not start" in last_line(done)


def test_a_database_that_refuses_is_named(installed_head):
    installed_head.write("/etc/mysql/mariadb.conf.d/90-other.cnf", "[mariadb-client]\nuser = nobody\n")
    done = installed_head.action("OnNodeConfigured")
    assert done.returncode == 71, done.stdout
    assert "MariaDB refuses to create Slurm's database" in last_line(done)


def test_an_apt_that_is_busy_is_waited_for(installed_head):
    # As apt-daily, which may run while a node boots; dpkg's and apt's locks are of the kind of lockf.
    installed_head.enter("dpkg", "--purge", "slirp4netns")
    hold = "import fcntl, time; f=[open(p, 'w') for p in ('/var/lib/apt/lists/lock', '/var/lib/dpkg/lock-frontend')]"
    hold += "; [fcntl.lockf(x, fcntl.LOCK_EX) for x in f]; print('held', flush=True); time.sleep(4)"
    installed_head.enter("systemd-run", "--quiet", "--unit=busy", "python3", "-c", hold)
    wait_for(lambda: "held" in installed_head.enter("journalctl", "--unit=busy").stdout, 10, "apt is busy")
    done = installed_head.action("OnNodeConfigured")
    assert done.returncode == 0, done.stdout
    assert "lock" in done.stdout
    assert installed_head.enter("dpkg-query", "--show", "--showformat=${Status}", "slirp4netns").stdout == "install ok installed"
