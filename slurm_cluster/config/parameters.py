"""config-parameters.json: the values that replace the template's parameters."""

import functools
import ipaddress
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from slurm_cluster import files
from slurm_cluster.errors import ClusterError

REGION = r"[a-z]{2}(-[a-z]+)+-\d+"
RESOURCE_ID = r"([0-9a-f]{8}|[0-9a-f]{17})"
# The prefixes, suffixes and the form of an IP address that S3 reserves, then the allowed characters.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET = (
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)(/|$))"
    r"(?!\d+\.\d+\.\d+\.\d+(/|$))"
    r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"
)
OBJECT_KEY = r"(?:(?!['\"\\])[!-~]){1,1024}"  # safe between quotes in YAML and in a shell
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = rf"(?=.{{1,253}}(:|/)){LABEL}(\.{LABEL})*(:\d{{1,5}})?"
KEY_ARN = r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]{1,512}"
# MariaDB allows 64 characters, and Slurm's longest table name is <cluster>_assoc_usage_month_table.
# ParallelCluster has the same limit for its own accounting:
# https://docs.aws.amazon.com/parallelcluster/latest/ug/Scheduling-v3.html
CLUSTER_NAME = r"[a-zA-Z][a-zA-Z0-9-]{0,39}"
ONE_OBJECT = "must hold one JSON object, as config-parameters.example.json does"
MIN_PREFIX_LENGTH = 8  # bits; warn about a larger network
KEY_PARAMETER = "SLURM_JWT_KEY"
SIZES = "HEAD_NODE_TYPE", "COMPUTE_TYPE", "MAX_NODES"  # the template has defaults for them


class Rule(NamedTuple):
    """What a value may be.

    Args:
        allowed: the rule in words.
        pattern: a regular expression for the whole value.
    """

    allowed: str
    pattern: str


ONE_LINE = Rule("text of one line", r"[^\n\r]+")  # for a parameter that only the user's template has
INSTANCE_TYPE = Rule("an EC2 instance type, such as c7i.4xlarge, or empty", r"([a-z][a-z0-9-]*\.[a-z0-9-]+)?")
SUBNET_ID = Rule("the id of a subnet, such as subnet-0123456789abcdef0", rf"subnet-{RESOURCE_ID}")
SCRIPT = Rule(
    "an s3:// URI of a bucket and a key, or an https:// URI, without spaces and quotes",
    rf"s3://{BUCKET}/{OBJECT_KEY}|https://{HOST}/{OBJECT_KEY}",
)
RULES = {
    "AWS_REGION": Rule("the name of a region, such as eu-west-2", REGION),
    "SSH_KEY_PAIR": Rule(
        "the name of an EC2 key pair: 1 to 255 printable ASCII characters", r"(?! )[ -~]{1,255}(?<! )"
    ),
    "PRIVATE_SUBNET": SUBNET_ID,
    "PUBLIC_SUBNET": SUBNET_ID,
    "CUSTOM_BOOT_ACTION_START": SCRIPT,
    "CUSTOM_BOOT_ACTION_CONFIGURED": SCRIPT,
    "SLURM_JWT_KEY": Rule(
        "the ARN of a secret, or a key of 32 to 1024 characters without spaces",
        rf"{KEY_ARN}|(?!arn:)[!-~]{{32,1024}}",
    ),
    "SLURM_JWT_POLICY": Rule(
        "the ARN of a managed policy, or empty",
        r"(arn:aws[a-z-]*:iam::(\d{12}|aws):policy/([!-~]+/)?[\w+=,.@-]{1,128})?",
    ),
    "BOOTSTRAP_BUCKET": Rule("the name of a bucket, or empty", rf"({BUCKET})?"),
    "CLUSTER_NAME": Rule(
        "a letter, then letters, digits and hyphens: at most 40 characters in all", CLUSTER_NAME
    ),
    "SSH_FROM": Rule(
        "one CIDR, such as 203.0.113.7/32, or one prefix list, such as pl-0123456789abcdef0",
        rf"pl-{RESOURCE_ID}|[0-9./]+",
    ),
    "HEAD_NODE_TYPE": INSTANCE_TYPE,
    "COMPUTE_TYPE": INSTANCE_TYPE,
    "MAX_NODES": Rule('a whole number in quotes, from "1" to "9999", or empty', r"([1-9]\d{0,3})?"),
}
ANYONE_WARNING = (
    "Anyone there can try to log in by SSH to the head node and the UQLE machine. "
    "Use your own address, such as 203.0.113.7/32."
)
WIDE_WARNING = f"is all or much of the internet. {ANYONE_WARNING}"
# https://docs.aws.amazon.com/parallelcluster/latest/ug/HeadNode-v3.html#yaml-HeadNode-Ssh-AllowedIps
OPEN_BY_DEFAULT = f"The default of AllowedIps is 0.0.0.0/0, all of the internet. {ANYONE_WARNING}"
LITERAL_KEY_WARNING = (
    "config.yml, and ParallelCluster's bucket and logs, then contain it. "
    "`invoke create-jwt-key` stores a key in Secrets Manager instead."
)


def read_parameters(path: Path) -> dict[str, Any]:
    """Read config-parameters.json, and check that `chevron`, which parses it as YAML, gets the same values.

    Args:
        path: the file.

    Returns:
        The values, not validated.

    Raises:
        ClusterError: the file does not exist, is not one JSON object, has a key twice, or `chevron` cannot
            read it or reads other values.
    """
    text = files.read_text(path, "Run `invoke fill-parameters`, or copy config-parameters.example.json.")
    try:
        values = json.loads(text, object_pairs_hook=functools.partial(build_object, path))
        yaml_values = files.parse_yaml(text)
        json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate cannot be rendered
    except json.JSONDecodeError as error:
        raise ClusterError(
            f"{path} is not JSON, line {error.lineno} column {error.colno}: {error.msg}."
        ) from error
    except (RecursionError, files.NestingError) as error:
        raise ClusterError(f"{path} is nested too deeply. It {ONE_OBJECT}.") from error
    except yaml.YAMLError as error:
        reason = files.describe_yaml_error(error)
        hint = "Replace the tab." if files.TAB in reason else "Use plain characters instead of escapes."
        raise ClusterError(f"`chevron` parses {path} as YAML, and fails: {reason}. {hint}") from error
    except ValueError as error:
        raise ClusterError(
            f"{path} has a number that is too long, or an incomplete \\u escape. "
            "Write the values as plain text."
        ) from error
    if not isinstance(values, dict):
        raise ClusterError(f"{path} {ONE_OBJECT}.")
    if values != yaml_values:
        raise ClusterError(
            f"`chevron` parses {path} as YAML, and gets different values. Write the values as plain text."
        )
    return values


def build_object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Refuse duplicate keys, because JSON and YAML would silently use the last one."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ClusterError(f"{path} has the key {sanitize(key)} twice. Keep one.")
    return dict(pairs)


def filter_filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are neither empty nor a placeholder."""
    return {
        name: value for name, value in values.items() if value not in ("", None) and not is_placeholder(value)
    }


def is_placeholder(value: object) -> bool:
    """Return whether a value still has the form `<...>` of the example."""
    return isinstance(value, str) and value.startswith("<") and value.endswith(">")


def validate_parameters(values: Mapping[str, Any], names: set[str], path: Path) -> None:
    """Check the values for the template.

    Args:
        values: the values in the file.
        names: the names in the template.
        path: the file, for messages.

    Raises:
        ClusterError: names are missing or unknown, or values are wrong; it lists all of them.
    """
    values = {**dict.fromkeys(SIZES, ""), **values}
    faults = [fault for name in sorted(names) for fault in validate_value(name, values.get(name))]
    unused = {name for name in values.keys() - names if name not in SIZES or values[name]}
    faults += [f"{sanitize(name)} is not in the template" for name in sorted(unused)]
    if faults:
        hint = "Correct the file. `invoke fill-parameters` fills in the results of the earlier steps."
        raise ClusterError(format_faults(path, faults, hint))


def validate_value(name: str, value: object) -> list[str]:
    """Return a sentence about the fault of a value and the rule, as a list; empty if the value is valid.

    Args:
        name: the name of the parameter.
        value: its value.

    Returns:
        Sentences that begin with the name, without a period. They never contain the value of SLURM_JWT_KEY.
    """
    fault = find_fault(name, value)
    return [f"{name} {fault}"] if fault else []


def find_fault(name: str, value: object) -> str:
    """Return the fault of a value and the rule, without the parameter's name; empty if the value is valid.

    Args:
        name: the name of the parameter.
        value: its value, or None if it is missing.
    """
    rule = RULES.get(name, ONE_LINE)
    if not isinstance(value, str):
        problem = "is missing" if value is None else "is not text"
    elif is_placeholder(value):
        problem = "is still a placeholder"
    elif re.fullmatch(rule.pattern, value, re.ASCII) and (name != "SSH_FROM" or is_ssh_source(value)):
        return ""
    elif not value:
        problem = "is empty"
    else:
        problem = "is invalid" if name == KEY_PARAMETER else f"is {shorten(value)}"
        problem += suggest_ssh_source(value) if name == "SSH_FROM" else ""
    return f"{problem}, and must be {rule.allowed}"


def is_ssh_source(value: str) -> bool:
    """Return whether a value is a prefix list or an IPv4 network without host bits."""
    if value.startswith("pl-"):
        return True
    try:
        return str(ipaddress.IPv4Network(value)) == value
    except ValueError:
        return False


def suggest_ssh_source(value: str) -> str:
    """Return a suggestion for an invalid source, or the reason, in parentheses; empty if there is none."""
    address, slash, _ = value.partition("/")
    try:
        if ipaddress.ip_address(address).version == 6:
            is_everyone = slash and ipaddress.ip_network(value, strict=False).prefixlen == 0
            return f" (IPv6{', and all of the internet' if is_everyone else ''})"
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        return ""
    return f" (did you mean {address}/32{f' or {network}' if slash else ''}?)"


def shorten(value: object) -> str:
    """Return a value as JSON, for a message: at most 60 characters."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def sanitize(name: str) -> str:
    """Return a name or a URI for a message: unchanged if it is plain, else quoted and shortened."""
    return name if re.fullmatch(r"[\w.:/-]{1,200}", name, re.ASCII) else shorten(name)


def format_faults(path: Path, faults: list[str], hint: str = "") -> str:
    """Return the message about a file. One fault is on a line with the hint; several have a line each.

    Args:
        path: the file.
        faults: sentences without a period.
        hint: a sentence that says what to do, for all of them.
    """
    if len(faults) == 1:
        return f"{path}: {faults[0]}. {hint}".rstrip()
    return "\n".join([f"{path}:", *(f"  {fault}." for fault in faults), hint]).rstrip()


def is_wide_range(source: str) -> bool:
    """Return whether the source of a rule is all or much of the internet."""
    try:
        return ipaddress.ip_network(source, strict=False).prefixlen < MIN_PREFIX_LENGTH
    except ValueError:  # a prefix list, or a fault that pcluster reports
        return False


def format_wide_warning(source: str, setting: str = "SSH_FROM") -> str:
    """Return the warning about a setting whose source is all or much of the internet."""
    return f"{setting}, {source}, {WIDE_WARNING}"


def is_literal_key(value: str) -> bool:
    """Return whether SLURM_JWT_KEY is the key itself, and not the ARN of its secret."""
    return not value.startswith("arn:")


def merge_parameters(
    values: Mapping[str, Any], found: Mapping[str, str], *, overwrite: bool
) -> tuple[dict[str, Any], list[str]]:
    """Fill in the results of the earlier steps, and keep the user's values.

    Args:
        values: the values in the file.
        found: the results of the earlier steps.
        overwrite: whether to replace the user's values too.

    Returns:
        The new values, in the order of the example, and a sentence for each kept value that differs from the
        result of an earlier step.
    """
    kept = {} if overwrite else filter_filled(values)
    merged = {**dict.fromkeys(RULES, ""), **values, **found, **kept}
    differing = [name for name in kept if merged[name] != found.get(name, merged[name])]
    shown = {name: f" {shorten(kept[name])}, and not {shorten(found[name])}" for name in differing}
    shown[KEY_PARAMETER] = ""
    flags = {"SSH_FROM": "--ssh-from"}
    return merged, [
        f"Kept {name}{shown[name]}. {flags.get(name, '--overwrite')} replaces it." for name in differing
    ]


def clear_values(path: Path, deleted: Collection[str]) -> None:
    """Clear the values of deleted resources, so that fill-parameters can fill in new ones."""
    if files.exists(path):
        values = read_parameters(path)
        kept = {name: "" if value in deleted else value for name, value in values.items()}
        if kept != values:
            write_parameters(path, kept)


def write_parameters(path: Path, values: Mapping[str, Any]) -> None:
    """Write config-parameters.json. Only its owner may read it, because it may hold the key."""
    files.write_file(path, json.dumps(values, indent=2) + "\n", mode=0o600)


def validate_cluster_name(name: object) -> str:
    """Return the cluster's name from the settings.

    Raises:
        ClusterError: AWS ParallelCluster does not allow it.
            https://docs.aws.amazon.com/parallelcluster/latest/ug/pcluster.create-cluster-v3.html
    """
    fault = find_fault("CLUSTER_NAME", name)
    if fault:
        raise ClusterError(f"cluster_name in invoke.yaml, or INVOKE_CLUSTER_NAME, {fault}.")
    return str(name)
