from pathlib import Path

from slurm_cluster.steps import uqle_env
from tests.support.in_process import run_task


def test_file_holds_the_key_for_its_owner_only():
    uqle_env.write_uqle_env(
        Path("uqle.env"), "ip-10-0-0-10.internal", "/shared", "k" * 43, "http://10.0.0.7:2323"
    )
    assert Path("uqle.env").read_bytes() == (
        b"SLURM_URL=http://ip-10-0-0-10.internal:8082\nSLURM_PORT=8082\nSHARED_MOUNT=/shared\nSLURM_JWT_KEY="
        + b"k" * 43
        + b"\n# Slurm supports API v0.0.41 to v0.0.44\n"
        b"UQLE_API_HOST=http://10.0.0.7:2323\nUQLE_CLI_TAG=\nUQLE_CLI_TOKEN=\n"
    )
    assert Path("uqle.env").stat().st_mode & 0o777 == 0o600


def test_key_is_left_out_by_default():
    uqle_env.write_uqle_env(Path("uqle.env"), "ip-10-0-0-10.internal", "/shared", None, "")
    assert "\nUQLE_API_HOST=\n" in Path("uqle.env").read_text()
    assert "KEY" not in Path("uqle.env").read_text()


def test_summary_lists_the_values_and_the_copy_command():
    lines = uqle_env.format_summary(
        Path("uqle.env"),
        "ip-10-0-0-10.internal",
        "/shared",
        "secret s",
        False,
        "one",
        {"PublicIpAddress": "203.0.113.9", "PrivateIpAddress": "10.0.0.7"},
    )
    assert lines[0] == "Slurm URL      http://ip-10-0-0-10.internal:8082"
    assert lines[1:4] == ["Slurm port     8082", "JWT key        secret s", "Mount point    /shared"]
    assert lines[4] == "UQLE API host  http://10.0.0.7:2323"
    assert "v0.0.37" in lines[5]
    assert lines[-1].endswith("/.ssh/one.pem uqle.env ubuntu@203.0.113.9:")


def test_without_a_machine_the_next_step_is_to_connect_one(cluster, project):
    printed, _ = run_task("handover")
    assert printed.endswith("The cluster has no UQLE machine yet.\nNext: invoke connect-uqle\n")
