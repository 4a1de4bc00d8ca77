"""Each finding of parliament and cloudsplaining about the policies has a reason here."""

import json
import warnings

import pytest

from slurm_cluster.aws import permissions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # parliament imports pkg_resources, which is deprecated
    import parliament
    from cloudsplaining.scan.policy_document import PolicyDocument

DOCUMENTED = "as broad as ParallelCluster documents; a tighter condition cannot be tested without an account"
OTHERS_TOO = (
    "the pattern also matches actions on resources that the statement does not name: they are not allowed"
)
ADMINISTRATOR = "with the two policies, a user can become an administrator: docs/permissions.md says so"
PARTLY = "the other resources of RunInstances are in a statement of their own"
OWN_NAMES = "limited to names of this repository"
# The statement and parliament's finding, with the reason.
PARLIAMENT = {
    # permissions.json
    ("Look", "RESOURCE_STAR"): "these actions only read, and list what has no known name yet",
    ("UbuntusImage", "RESOURCE_MISMATCH"): "a public parameter has no account in its ARN",
    (
        "ScriptsBucket",
        "RESOURCE_POLICY_PRIVILEGE_ESCALATION",
    ): "the bucket's policy is the user's own, to refuse requests without TLS",
    ("ScriptsBucket", "PERMISSIONS_MANAGEMENT_ACTIONS"): OWN_NAMES,
    ("JwtKeysPolicy", "PERMISSIONS_MANAGEMENT_ACTIONS"): OWN_NAMES,
    ("JwtKeysPolicy", "PRIVILEGE_ESCALATION"): ADMINISTRATOR,
    ("Launch", "RESOURCE_MISMATCH"): PARTLY,
    ("LaunchWith", "RESOURCE_MISMATCH"): PARTLY,
    # permissions-pcluster.json and permissions-iam.json
    **{(sid, "RESOURCE_STAR"): DOCUMENTED for sid in ("Read", "Stacks", "Network", "Cluster", "Names")},
    ("Machines", "RESOURCE_STAR"): "limited by the cluster's tag",
    **{(sid, "RESOURCE_MISMATCH"): OTHERS_TOO for sid in ("FileSystem", "OwnBucket", "Published")},
    ("OwnBucket", "PERMISSIONS_MANAGEMENT_ACTIONS"): DOCUMENTED,
    ("CleanUp", "PERMISSIONS_MANAGEMENT_ACTIONS"): DOCUMENTED,
    ("ReadRoles", "INVALID_ARN"): "AWS's own policies have the account `aws`",
    **{
        (sid, "PERMISSIONS_MANAGEMENT_ACTIONS"): ADMINISTRATOR
        for sid in ("Profiles", "Roles", "Policies", "PassRoles")
    },
    ("FileSystemsRole", "PERMISSIONS_MANAGEMENT_ACTIONS"): "limited to the role of EFS",
}
# The findings of cloudsplaining in permissions-pcluster.json, with the reasons. It finds nothing in the others.
CLOUDSPLAINING = {
    "allows_privilege_escalation": ADMINISTRATOR,
    "write_actions_without_constraints": DOCUMENTED,
    "tagging_actions_without_constraints": DOCUMENTED,
    "infrastructure_modification": DOCUMENTED,
    "service_wildcard": DOCUMENTED,
}
CHECKS = [
    *CLOUDSPLAINING,
    "allows_data_exfiltration_actions",
    "permissions_management_without_constraints",
    "credentials_exposure",
]


@pytest.fixture(scope="module")
def statements():
    return [
        statement for path in permissions.FILES for statement in json.loads(path.read_text())["Statement"]
    ]


def lint(statements):
    """Return parliament's findings, for each statement separately."""
    found = set()
    for statement in statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        result = parliament.analyze_policy_string(policy, include_community_auditors=True)
        found.update((statement["Sid"], finding.issue) for finding in result.findings)
    return found


def test_each_finding_of_parliament_has_a_reason(statements):
    found = lint(statements)
    assert (found - PARLIAMENT.keys(), PARLIAMENT.keys() - found) == (set(), set())


def test_each_finding_of_cloudsplaining_has_a_reason():
    found = {
        path.name: {check for check in CHECKS if getattr(PolicyDocument(json.loads(path.read_text())), check)}
        for path in permissions.FILES
    }
    assert found == {
        "permissions.json": set(),
        "permissions-pcluster.json": CLOUDSPLAINING.keys(),
        "permissions-iam.json": set(),
    }


@pytest.mark.parametrize(
    ("statement", "issue"),
    [
        ({"Action": "ec2:NoSuchAction", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::a-bucket"}, "RESOURCE_MISMATCH"),
        ({"Action": "iam:PassRole", "Resource": "*"}, "RESOURCE_STAR"),
    ],
)
def test_parliament_finds_faults(statement, issue):
    assert ("Fault", issue) in lint([{"Sid": "Fault", "Effect": "Allow", **statement}])
