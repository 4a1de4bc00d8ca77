"""config-parameters.json: the values that the template needs, by name."""

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
SUBNET = rf"subnet-{RESOURCE_ID}"
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html: what a name has, and what it must not begin
# with, end in or look like: other things of S3 have such names.
BUCKET = (
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)(/|$))(?!\d+\.\d+\.\d+\.\d+(/|$))"
    r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]"
)
OBJECT_KEY = r"(?:(?!['\"\\])[!-~]){1,1024}"  # of an object, as far as YAML and shells take it between quotes
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = rf"(?=.{{1,253}}(:|/)){LABEL}(\.{LABEL})*(:\d{{1,5}})?"
SECRET_ARN = r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]{1,512}"
# Slurm's longest table is <cluster>_assoc_usage_month_table, and MariaDB's names have at most 64 characters. ParallelCluster has
# the same limit with its own accounting: https://docs.aws.amazon.com/parallelcluster/latest/ug/Scheduling-v3.html
CLUSTER_NAME = r"[a-zA-Z][a-zA-Z0-9-]{0,39}"
WIDE_PREFIX = 8  # a network of fewer bits than this is a good part of the internet


class Rule(NamedTuple):
    """What a value may be.

    Args:
        allowed: in words.
        pattern: as a regular expression for all of it.
        may_be_empty: the template has a section that then falls away.

    """

    allowed: str
    pattern: str
    may_be_empty: bool = False


SCRIPT = Rule(
    "an s3:// URI of a bucket and a key, or an https:// URI, without spaces and quotes",
    rf"s3://{BUCKET}/{OBJECT_KEY}|https://{HOST}/{OBJECT_KEY}",
)
RULES = {
    "AWS_REGION": Rule("the name of a region, as eu-west-2", REGION),
    "SSH_KEY_PAIR": Rule(
        "the name of an EC2 key pair, 1 to 255 printable ASCII characters", r"(?! )[ -~]{1,255}(?<! )"
    ),
    "PRIVATE_SUBNET": Rule("the id of a subnet, as subnet-0123456789abcdef0", SUBNET),
    "PUBLIC_SUBNET": Rule("the id of a subnet, as subnet-0123456789abcdef0", SUBNET),
    "CUSTOM_BOOT_ACTION_START": SCRIPT,
    "CUSTOM_BOOT_ACTION_CONFIGURED": SCRIPT,
    "SLURM_JWT_KEY": Rule(
        "the ARN of a secret, or a key of 32 to 1024 characters without spaces",
        rf"{SECRET_ARN}|(?!arn:)[!-~]{{32,1024}}",
    ),
    "SLURM_JWT_POLICY": Rule(
        "the ARN of a managed policy, or empty",
        r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/([!-~]+/)?[\w+=,.@-]{1,128}",
        True,
    ),
    "BOOTSTRAP_BUCKET": Rule("the name of a bucket, or empty", BUCKET, True),
    "CLUSTER_NAME": Rule("a letter, then letters, digits and hyphens, 40 characters at most", CLUSTER_NAME),
    "SSH_FROM": Rule(
        "one CIDR, as 203.0.113.7/32, or one prefix list, as pl-0123456789abcdef0",
        rf"pl-{RESOURCE_ID}|[0-9./]+",
    ),
}
WIDE_WARNING = (
    "is the whole internet, or a good part of it: anybody there may knock at the SSH port of the head node and the UQLE machine; "
    "name your own address, as 203.0.113.7/32."
)
LITERAL_KEY_WARNING = (
    "ParallelCluster then keeps it in config.yml, in its bucket and in its logs; "
    "`invoke create-jwt-key` keeps it in Secrets Manager."
)
KEY_PARAMETER = "SLURM_JWT_KEY"


def read_parameters(path: Path) -> dict[str, Any]:
    """Read config-parameters.json as far as both JSON and chevron, which reads YAML, read it alike.

    Args:
        path: the file.

    Returns:
        What it holds; the values are not checked.

    Raises:
        ClusterError: it is not there, is not one JSON object, names a key twice, or `chevron` would read something else.

    """
    if not files.exists(path):
        raise ClusterError(
            f"{path} is not here: run `invoke fill-parameters`, or copy config-parameters.example.json."
        )
    text = files.read_text(path)
    try:
        values = json.loads(text, object_pairs_hook=reject_duplicates)
        as_chevron_reads_it = yaml.safe_load(text)
        json.dumps(values, ensure_ascii=False).encode()  # as chevron prints it
    except json.JSONDecodeError as error:
        raise ClusterError(
            f"{path} is not JSON, line {error.lineno} column {error.colno}: {error.msg}."
        ) from error
    except DuplicateKeyError as error:
        raise ClusterError(f"{path} has the key {sanitize(str(error))} twice: keep one.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or type(error).__name__
        raise ClusterError(
            f"{path} is JSON that `chevron` cannot read, as it reads YAML ({reason}): "
            "use spaces instead of tabs, and plain characters instead of escapes."
        ) from error
    if not isinstance(values, dict):
        raise ClusterError(f"{path} must hold one JSON object, as config-parameters.example.json does.")
    if values != as_chevron_reads_it:
        raise ClusterError(f"{path} is read otherwise by `chevron`, as YAML: write its values as plain text.")
    return values


class DuplicateKeyError(ValueError):
    """A key stands twice in an object; both JSON and YAML would take the last one in silence."""


def reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs, where no key stands twice."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise DuplicateKeyError(key)
    return dict(pairs)


def filter_filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values that a person or a step filled in: neither empty nor a placeholder."""
    return {
        name: value for name, value in values.items() if value not in ("", None) and not is_placeholder(value)
    }


def is_placeholder(value: object) -> bool:
    """Say whether a value still has the form `<...>` of the example."""
    return isinstance(value, str) and value.startswith("<") and value.endswith(">")


def validate_parameters(values: Mapping[str, Any], names: set[str], path: Path) -> None:
    """Refuse values that the template does not take.

    Args:
        values: what the file holds.
        names: what the template needs.
        path: the file, for the message.

    Raises:
        ClusterError: names are missing or unknown, or values are empty, placeholders or of another form; it names all.

    """
    faults = [f"{name} is missing" for name in sorted(names - values.keys())]
    faults += [
        f"{sanitize(name)} is not a name that the template knows" for name in sorted(values.keys() - names)
    ]
    faults += [
        fault for name, value in values.items() if name in names for fault in validate_value(name, value)
    ]
    if faults:
        raise ClusterError(
            f"{path}: {'; '.join(faults)}. `invoke fill-parameters` fills in what the steps before it made."
        )


def validate_value(name: str, value: object) -> list[str]:
    """Say what is wrong with one value, if anything is, and what is allowed; the key's value is not repeated."""
    rule = RULES.get(name, Rule("text of one line", r"[^\n\r]+"))
    if value == "":
        return [] if rule.may_be_empty else [f"{name} is empty, and must be {rule.allowed}"]
    if is_placeholder(value):
        return [f"{name} is still the placeholder of the example, and must be {rule.allowed}"]
    shown = "not of that form" if name == KEY_PARAMETER else shorten(value)
    fits = isinstance(value, str) and re.fullmatch(rule.pattern, value, re.ASCII)
    if not fits or (name == "SSH_FROM" and not is_ssh_source(str(value))):
        return [f"{name} is {shown}, and must be {rule.allowed}"]
    return []


def is_ssh_source(value: str) -> bool:
    """Say whether a security group rule may have it as source: one IPv4 network without host bits, or a prefix list."""
    if value.startswith("pl-"):
        return True
    try:
        return str(ipaddress.IPv4Network(value)) == value
    except ValueError:
        return False


def shorten(value: object) -> str:
    """Give a value as the file has it, cut to what fits into a sentence."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def sanitize(name: str) -> str:
    """Give a name or a URI that somebody made up as it fits into a sentence."""
    return name if re.fullmatch(r"[\w.:/-]{1,200}", name, re.ASCII) else shorten(name)


def is_wide_range(source: str) -> bool:
    """Say whether a source of a rule is the whole internet, or a good part of it."""
    return not source.startswith("pl-") and ipaddress.IPv4Network(source).prefixlen < WIDE_PREFIX


def is_literal_key(value: str) -> bool:
    """Say whether SLURM_JWT_KEY is the key itself, and not the ARN of its secret."""
    return not value.startswith("arn:")


def merge_parameters(
    values: Mapping[str, Any], found: Mapping[str, str], *, overwrite: bool
) -> tuple[dict[str, Any], list[str]]:
    """Fill in what was found, and keep what a person wrote.

    Args:
        values: what the file holds so far.
        found: what the steps before made.
        overwrite: replace also what a person wrote.

    Returns:
        The new values, in the order of the example, and a sentence for each value that was kept although another was found.

    """
    kept = {} if overwrite else filter_filled(values)
    differing = [name for name in kept if name in found and kept[name] != found[name]]
    names = [*RULES, *(name for name in values if name not in RULES)]
    filled = {name: (dict(values) | dict(found) | kept).get(name, "") for name in names}
    return filled, [
        f"{name} stays {'as it was' if name == KEY_PARAMETER else shorten(kept[name])}"
        f"{'' if name == KEY_PARAMETER else f'; found was {shorten(found[name])}'}: --overwrite replaces it."
        for name in differing
    ]


def refuse_other_cluster(values: Mapping[str, Any], cluster: str, path: Path) -> None:
    """Refuse parameters that were filled in for a cluster of another name.

    Raises:
        ClusterError: they were.
    """
    filled = filter_filled(values).get("CLUSTER_NAME", cluster)
    if filled != cluster:
        raise ClusterError(
            f"{path} is of the cluster {sanitize(str(filled))}, and this command is about {cluster}: "
            "work in another folder, or set cluster_name or INVOKE_CLUSTER_NAME."
        )


def clear_values(path: Path, gone: Collection[str]) -> None:
    """Empty the values that name what was taken away, so that the next filling puts others there."""
    if files.exists(path):
        values = read_parameters(path)
        kept = {name: "" if value in gone else value for name, value in values.items()}
        if kept != values:
            write_parameters(path, kept)


def write_parameters(path: Path, values: Mapping[str, Any]) -> None:
    """Write config-parameters.json, for its owner's eyes alone: it may hold the key."""
    files.write_file(path, json.dumps(values, indent=2) + "\n", mode=0o600)


def validate_cluster_name(name: object) -> str:
    """Give the name of the settings back when it is one.

    Raises:
        ClusterError: AWS ParallelCluster would refuse it.
            https://docs.aws.amazon.com/parallelcluster/latest/ug/pcluster.create-cluster-v3.html

    """
    faults = validate_value("CLUSTER_NAME", name)
    if faults:
        raise ClusterError(f"cluster_name, of invoke.yaml or INVOKE_CLUSTER_NAME: {faults[0]}.")
    return str(name)
