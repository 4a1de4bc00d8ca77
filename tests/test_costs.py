"""The prices in docs/costs.md have a date and add up, and other documents cite the same sums."""

import re

import pytest
import yaml

from slurm_cluster.config import cluster_config
from slurm_cluster.steps import up_down
from tests.support import ROOT
from tests.support.task_runner import get_output
from tests.support.valid_files import render_configuration

COSTS = (ROOT / "docs" / "costs.md").read_text()
ROWS = {
    what: float(price)
    for what, price in re.findall(
        r"^\| ([^|]+?) \|[^|]+\|[^|]+\| (\d+\.\d+) (?:an hour|a month)", COSTS, re.MULTILINE
    )
}
ADDRESSES = 3  # of the NAT gateway, the head node and the UQLE machine
HOURS = 730  # in a month, as AWS counts


def get_price(beginning):
    [price] = [price for what, price in ROWS.items() if what.startswith(beginning)]
    return price


@pytest.fixture(scope="module")
def idle_cost():
    running = [get_price(what) for what in ("NAT gateway", "head node", "UQLE machine")]
    return sum(running) + ADDRESSES * get_price("public addresses")


def test_idle_cost_is_the_sum_of_the_table(idle_cost):
    assert f"{idle_cost:.2f}" == up_down.IDLE_COST
    without_uqle = idle_cost - get_price("UQLE machine") - get_price("public addresses")
    assert f"{without_uqle:.2f}" == up_down.IDLE_COST_WITHOUT_UQLE
    monthly = idle_cost * HOURS + get_price("secret") + get_price("private DNS zone")
    assert f"about {up_down.IDLE_COST} US dollars an hour, or {monthly:.0f} a month" in COSTS


def test_idle_cost_is_the_same_everywhere():
    for name, words in ("README.md", "US dollars an hour"), ("tasks.py", "dollars an hour"):
        assert re.findall(rf"(\d\.\d+) {words}", (ROOT / name).read_text()) == [up_down.IDLE_COST], name


def test_prices_have_a_date_and_a_region():
    assert re.search(r"list prices of [a-z]+-[a-z]+-\d in US dollars, as of \d{4}-\d\d-\d\d", COSTS)


def test_table_names_the_types_that_are_launched():
    groups = cluster_config.parse(render_configuration()).groups
    head_node, compute = [name for group in groups for name in group.instance_types]
    uqle = yaml.safe_load((ROOT / "invoke.yaml").read_text())["uqle"]["instance_type"]
    for what in f"head node, {head_node}", f"compute nodes, {compute}", f"UQLE machine, {uqle}":
        assert get_price(what)


def test_busy_nodes_cost_what_the_text_says():
    """A T3 instance pays for each vCPU beyond its baseline."""
    extra = float(re.findall(r"(\d\.\d+) an hour and vCPU", COSTS)[0])
    large = get_price("compute nodes, t3.large") + 2 * (1 - 0.30) * extra
    xlarge = get_price("head node, t3.xlarge") + 4 * (1 - 0.40) * extra
    assert re.search(rf"`t3\.large` costs {large:.3f} an\s+hour, and a `t3\.xlarge` {xlarge:.3f}\.", COSTS)
    fixed = float(re.findall(r"`m6i\.large` has the same size and costs (\d\.\d+)", COSTS)[0])
    equal = 0.30 + (fixed - get_price("compute nodes, t3.large")) / (2 * extra)
    assert re.search(rf"more than {equal:.0%}".replace("%", " %"), COSTS)


def test_up_shows_cost_time_and_teardown_before_it_asks(invoke):
    printed = get_output(invoke("up", "--ssh-from", "203.0.113.7/32"), 1)
    for words in (
        "about 20 minutes",
        f"about {up_down.IDLE_COST} dollars an hour",
        "`invoke down --all`",
        "pass --yes",
    ):
        assert words in printed
