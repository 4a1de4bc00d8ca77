"""Check what pcluster's dry run does not: whether the boot scripts can run on the nodes."""

import re
from fnmatch import fnmatchcase

from slurm_cluster.config.cluster_config import ClusterConfig, NodeConfig
from slurm_cluster.config.parameters import is_wide_range, sanitize, shorten
from slurm_cluster.config.template import PLACEHOLDER

# A script of bootstrap/, or a script in the template, before its URI is filled in
BOOT_SCRIPT = re.compile(rf"/on_node_(start|configured)_ubuntu[^/]*\.sh$|^{PLACEHOLDER}$")
KEY_POLICY = "-read-slurm-jwt-key"  # the ARN of the policy that allows reading the JWT key ends with this


def list_faults(config: ClusterConfig) -> list[str]:
    """Return a sentence for each fault that would make a node fail when it boots, half an hour later."""
    faults = []
    if runs_boot_scripts(config.nodes) and not config.os.startswith("ubuntu"):
        faults.append(
            f"Image / Os is {shorten(config.os)}. The boot scripts need apt: choose ubuntu2404 or ubuntu2204"
        )
    if runs_boot_scripts([config.head_node]) and config.has_other_scheduler:
        faults.append(
            f"Scheduling / Scheduler is {shorten(config.scheduler)}. "
            "The boot scripts need Slurm: choose slurm"
        )
    if runs_boot_scripts([config.head_node]) and config.accounting:
        faults.append(
            f"Scheduling / SlurmSettings / {config.accounting}: the boot script sets up accounting itself. "
            "Remove this section"
        )
    return [*faults, *(fault for node in config.nodes for fault in list_unreadable_scripts(node))]


def runs_boot_scripts(nodes: list[NodeConfig]) -> bool:
    """Return whether one of these nodes runs a script of bootstrap/, and not only scripts of the user."""
    return any(BOOT_SCRIPT.search(script) for node in nodes for script in node.scripts)


def list_unreadable_scripts(node: NodeConfig) -> list[str]:
    """Return a sentence for each script in S3 that a node runs, but may not read.

    With a role, an instance profile or an additional policy, return none: these may allow it.
    """
    if any(not policy.endswith(KEY_POLICY) for policy in node.policies):
        return []
    way = "Add the bucket to Iam / S3Access"
    if node.name.startswith("login pool"):
        way = "Login pools have no S3Access: add a policy for the bucket to Iam / AdditionalIamPolicies"
    return [
        f"{node.name} may not read {sanitize(uri)}. {way}"
        for uri in node.scripts
        if uri.startswith("s3://") and not any(fnmatchcase(uri, pattern) for pattern in node.readable_uris)
    ]


def list_warnings(config: ClusterConfig) -> list[str]:
    """Return a warning for each setting that is valid, but disables a feature or opens a port."""
    warnings = []
    gaps = list_rest_api_gaps(config)
    if gaps:
        warnings.append(
            f"No REST API on port 8082, unless your own scripts start one: {', and '.join(gaps)}. "
            "`invoke render` with the repository's config.template.yml adds it."
        )
    if runs_boot_scripts([config.head_node]):
        warnings += [
            f"{queue.name} does not run the boot scripts. Its nodes have no Podman."
            for queue in config.queues
            if not runs_boot_scripts([queue])
        ]
    warnings += [
        f"{pool.name}: AllowedIps, {pool.ssh_from}, is all or much of the internet. "
        "Anyone there can try to log in by SSH to its nodes."
        for pool in config.login_pools
        if pool.ssh_from and is_wide_range(pool.ssh_from)
    ]
    if config.head_node.own_security_groups:
        warnings.append(
            "The head node has SecurityGroups of its own. `invoke connect-uqle` works only with the group "
            "that pcluster creates: use AdditionalSecurityGroups instead."
        )
    return warnings


def list_rest_api_gaps(config: ClusterConfig) -> list[str]:
    """Return what the configuration lacks for the REST API that the boot scripts set up.

    Two scripts with other names, or with URIs that are not filled in yet, are assumed to be copies of them.
    """
    if config.has_other_scheduler:
        return [f"Scheduling / Scheduler is {shorten(config.scheduler)}, not slurm"]
    scripts = config.head_node.scripts
    names = {match[1] for script in scripts if (match := BOOT_SCRIPT.search(script)) and match[1]}
    gaps = []
    if not (names >= {"start", "configured"} if names else len(scripts) > 1):
        gaps.append("the head node does not run both boot scripts")
    if not config.has_jwt_auth:
        gaps.append("CustomSlurmSettings has no AuthAltTypes: auth/jwt")
    return gaps
