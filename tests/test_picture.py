"""The page of `invoke picture`, without a browser; tests/browser opens it in one."""

import re
from html.parser import HTMLParser

import pytest

from sandbox.small_cluster import make_cluster
from scripts import screenshots
from slurm_cluster.aws import security_groups, uqle_instance
from slurm_cluster.state import cluster_state
from slurm_cluster.steps.uqle import find_launch_target
from slurm_cluster.views import picture
from slurm_cluster.views.connectivity import CREATE_INSTANCE

# In this order. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-launch-parameters.html
# and, for the file system, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AmazonEFS.html
WIZARD_FIELDS = [
    "VPC",
    "Subnet",
    "Auto-assign public IP",
    "Firewall (security groups)",
    "File system",
    "Mount point",
    "Automatically create and attach security groups",
    "Automatically mount shared file system by attaching required user data script",
]
HOSTILE = "\"'><script>alert(1)</script><svg onload=alert(2)>&amp;{{ 7*7 }}</title></style>"


class Reader(HTMLParser):
    """Parses a page into its tags with their attributes, and the rows of its tables."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.rows, self.text, self.cell = [], [], "", None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(" ".join(self.cell).split()))
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell.append(data)


def read(project):
    return Reader(picture.render_page(project))


def row(page, *beginning):
    """Return the only row of the page's tables that begins with these cells."""
    [found] = [cells for cells in page.rows if tuple(cells[: len(beginning)]) == beginning]
    return found[len(beginning) :]


@pytest.fixture
def connected(cluster, project, ec2):
    """A cluster with its UQLE machine, and port 22 open to one address."""
    security_groups.add_self_rule(ec2, cluster["group"])
    source = [{"CidrIp": "203.0.113.7/32"}]
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": source}
    ec2.authorize_security_group_ingress(GroupId=cluster["group"], IpPermissions=[permission])
    return launch(project, ec2)


def launch(project, ec2, script=None):
    place = find_launch_target(project)
    image = uqle_instance.get_ubuntu_image_id(project.ec2, project.ssm, "t3.large")
    script = uqle_instance.render_user_data(place, "/shared") if script is None else script
    return uqle_instance.launch_instance(ec2, place, project.get_uqle_settings(), image, script)


def test_empty_account_shows_everything_missing(project):
    page = read(project)
    assert row(page, "outside", "head node", "22, SSH") == ["missing invoke create-cluster"]
    assert row(page, "VPC") == row(page, "Mount point") == ["missing invoke create-cluster"]
    assert "no cluster" in page.text
    assert page.text.count("missing") > 20


def test_network_alone_is_drawn(network, project):
    text = read(project).text
    assert network["vpc"] in text
    assert network["private"] in text


def test_cluster_without_machine_names_the_missing_steps(cluster, project):
    page = read(project)
    assert row(page, "missing", "All traffic") == [
        "All",
        "All",
        "this group itself invoke allow-head-node-group",
    ]
    assert row(page, "UQLE machine", "head node") == [
        "8082, Slurm REST API",
        "missing invoke create-instance",
    ]


def test_inbound_rules_are_ec2s(connected, cluster, project, ec2):
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [cluster["group"]]}])[
        "SecurityGroupRules"
    ]
    ids = {
        rule.get("CidrIpv4", "group"): rule["SecurityGroupRuleId"] for rule in rules if not rule["IsEgress"]
    }
    page = read(project)
    assert row(page, ids["203.0.113.7/32"]) == ["SSH", "TCP", "22", "203.0.113.7/32"]
    assert row(page, ids["group"]) == [
        "All traffic",
        "All",
        "All",
        f"{cluster['group']} this group: all traffic between its members",
    ]
    assert row(page, "203.0.113.7/32", "UQLE machine") == ["22, SSH", ids["203.0.113.7/32"]]
    assert row(page, "UQLE machine", "head node") == ["8082, Slurm REST API", ids["group"]]
    assert row(page, "outside", "head node", "8082, Slurm REST API") == ["no rule, as intended"]


def test_network_settings_are_the_machines(connected, cluster, network, project, ec2):
    address = uqle_instance.find_instance(ec2, "pcluster-ubuntu")["PublicIpAddress"]
    page = read(project)
    assert row(page, "VPC") == [f"{network['vpc']} ParallelClusterVPC-20261124000000, 10.0.0.0/16"]
    assert row(page, "Subnet")[0].startswith(f"{network['public']} ")
    assert row(page, "Auto-assign public IP") == [f"Enabled: {address}"]
    assert row(page, "Firewall (security groups)")[0].startswith(
        f"{cluster['group']} pcluster-ubuntu-HeadNodeSecurityGroup-"
    )


def test_file_system_settings_match_user_data_and_mount_target(connected, project):
    page, file_system = read(project), find_launch_target(project).file_system_id
    target = project.efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"][0]
    assert row(page, "File system")[0].startswith(file_system)
    assert row(page, "Mount point") == ["/shared"]
    assert f"{target['MountTargetId']} at {target['IpAddress']} in eu-west-2a, available" in page.text
    assert row(page, "Automatically create and attach security groups") == [
        "No: its only group is the head node's"
    ]
    [mounts] = [cells[1] for cells in page.rows if cells[0].startswith("Automatically mount")]
    assert mounts == f"✓ Yes: its user data mounts {file_system}"


def test_views_show_only_fields_of_the_console(connected, project):
    state = cluster_state.load_state(project)
    shown = picture.list_network_fields(state) + picture.list_file_system_fields(state)
    assert [field.label for field in shown] == WIZARD_FIELDS
    missing = state._replace(uqle_instances=[], user_data="")
    shown = picture.list_network_fields(missing) + picture.list_file_system_fields(missing)
    assert [field.label for field in shown] == WIZARD_FIELDS


def test_pictures_say_that_they_are_drawn(connected, project):
    sections = picture.render_page(project).split("<section")[1:]
    assert len(sections) == 4
    assert all("rawn from what AWS answers" in section for section in sections)


def test_user_data_of_the_console_wizard_is_read(cluster, project, ec2):
    file_system = find_launch_target(project).file_system_id
    launch(
        project,
        ec2,
        f"#cloud-config\nruncmd:\n- file_system_id_1={file_system}\n- efs_mount_point_1=/mnt/efs/fs1\n",
    )
    assert row(read(project), "Mount point") == ["/mnt/efs/fs1"]


def test_wrong_mount_or_groups_are_not_shown_as_right(cluster, network, project, ec2):
    instance = launch(project, ec2, "#!/bin/sh\n")
    other = ec2.create_security_group(GroupName="other", Description="other", VpcId=network["vpc"])["GroupId"]
    ec2.modify_instance_attribute(InstanceId=instance, Groups=[other])
    page = read(project)
    assert row(page, "Mount point") == [f"missing {CREATE_INSTANCE}"]
    [mounts] = [cells[1] for cells in page.rows if cells[0].startswith("Automatically mount")]
    assert mounts == "No: its user data does not mount this file system"
    assert row(page, "Firewall (security groups)") == [f"{other} other"]
    assert row(page, "Automatically create and attach security groups") == [
        f"Unknown: it is also a member of {other} other"
    ]
    assert row(page, "UQLE machine", "head node") == [
        "8082, Slurm REST API",
        "missing invoke allow-head-node-group",
    ]


def test_removed_rule_is_missing(connected, cluster, project, ec2):
    security_groups.remove_self_rule(ec2, cluster["group"])
    page = read(project)
    assert row(page, "UQLE machine", "head node") == [
        "8082, Slurm REST API",
        "missing invoke allow-head-node-group",
    ]
    assert row(page, "UQLE machine", "file system") == [
        "2049, NFS",
        "missing invoke disconnect-uqle connect-uqle",
    ]


def test_public_rest_api_is_reported(connected, cluster, project, ec2):
    everybody = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 9000, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=cluster["group"], IpPermissions=[everybody])
    [said] = row(read(project), "0.0.0.0/0 (anyone)", "head node", "8082, Slurm REST API")
    assert re.fullmatch(r"open delete rule sgr-\w+", said)


def test_rule_for_the_networks_range_admits_its_machines(cluster, project, ec2):
    launch(project, ec2)
    inside = {"IpProtocol": "tcp", "FromPort": 8082, "ToPort": 8082, "IpRanges": [{"CidrIp": "10.0.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=cluster["group"], IpPermissions=[inside])
    assert row(read(project), "UQLE machine", "head node")[1].startswith("sgr-")


def test_stopped_machine_shows_why_it_has_no_address(connected, project, ec2, monkeypatch):
    found = {**uqle_instance.find_instance(ec2, "pcluster-ubuntu"), "State": {"Name": "stopped"}}
    del found["PublicIpAddress"]
    monkeypatch.setattr(uqle_instance, "list_live_instances", lambda *_: [found])
    assert row(read(project), "Auto-assign public IP") == ["No address while the instance is stopped"]


def test_names_and_tags_cannot_run(connected, network, project, ec2):
    for thing in (network["vpc"], network["public"], network["private"], connected):
        ec2.create_tags(Resources=[thing], Tags=[{"Key": "Name", "Value": HOSTILE}])
    project.efs.tag_resource(
        ResourceId=find_launch_target(project).file_system_id, Tags=[{"Key": "Name", "Value": HOSTILE}]
    )
    page = read(project)
    assert page.text.count(HOSTILE) >= 5
    assert not {"script", "img", "iframe", "object", "link", "a"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_values_are_not_cut_inside_an_escape(connected, network, project, ec2):
    ec2.create_tags(Resources=[network["private"]], Tags=[{"Key": "Name", "Value": "<" * 100}])
    page = picture.render_page(project)
    assert f"{'&lt;' * 26}…" in page
    assert not re.search(r"&(?!(lt|gt|amp|#34|#39);)", page)


def test_page_is_self_contained(connected, project):
    page = read(project)
    [policy] = [
        attributes["content"]
        for _, attributes in page.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert not [
        attributes
        for _, attributes in page.tags
        if {"src", "href", "srcset", "action", "style"} & attributes.keys()
    ]
    assert not re.search(r"https?://|@import|url\((?!#)", picture.render_page(project))


def test_two_clusters_are_not_mixed_up(connected, network, project, cloudformation):
    group = make_cluster("second", network, cloudformation)["group"]
    assert group not in read(project).text


def test_normalized_values_stay_distinct():
    runs = [
        "sg-1111111111aaaaaaa x-HeadNodeSecurityGroup-ABCDEFGHIJKL sg-2222222222b sg-1111111111aaaaaaa fs-12345678 10.0.0.8",
        "sg-9999999999aaaaaaa x-HeadNodeSecurityGroup-ZYXWVUTSRQPO sg-8888888888b sg-9999999999aaaaaaa fs-87654321 10.0.0.7",
    ]
    first, second = map(screenshots.normalize, runs)
    assert first == second
    one, _, other, again, *_ = first.split()
    assert one == again != other
    kept = "203.0.113.7/32 10.0.0.0/16 10.0.16.0/20 8082"
    assert screenshots.normalize(kept) == kept
