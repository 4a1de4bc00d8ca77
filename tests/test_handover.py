from pathlib import Path

from slurm_cluster.steps import uqle_env


def test_file_holds_the_key_for_its_owner_only():
    uqle_env.write_uqle_env(Path("uqle.env"), "ip-10-0-0-10.internal", "/shared", "k" * 43)
    assert Path("uqle.env").read_bytes() == (
        b"SLURM_URL=http://ip-10-0-0-10.internal:8082\nSLURM_PORT=8082\nSHARED_MOUNT=/shared\nSLURM_JWT_KEY="
        + b"k" * 43
        + b"\n"
    )
    assert Path("uqle.env").stat().st_mode & 0o777 == 0o600


def test_key_is_left_out_by_default():
    uqle_env.write_uqle_env(Path("uqle.env"), "ip-10-0-0-10.internal", "/shared", None)
    assert "KEY" not in Path("uqle.env").read_text()


def test_summary_lists_the_values_and_the_copy_command():
    lines = uqle_env.format_summary(
        Path("uqle.env"),
        "ip-10-0-0-10.internal",
        "/shared",
        "secret s",
        False,
        "one",
        {"PublicIpAddress": "203.0.113.9"},
    )
    assert lines[0] == "Slurm URL      http://ip-10-0-0-10.internal:8082"
    assert lines[1:4] == ["Slurm port     8082", "JWT key        secret s", "Mount point    /shared"]
    assert lines[-1].endswith("/.ssh/one.pem uqle.env ubuntu@203.0.113.9:")


def test_summary_without_machine_names_the_next_step():
    assert "invoke connect-uqle" in uqle_env.format_summary(Path("u"), "h", "/s", "s", True, "one", None)[-1]
