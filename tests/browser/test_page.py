"""The page in a real Chromium: everything is visible, nothing overflows, and it loads nothing else."""

from pathlib import Path

import pytest
import yaml

import sandbox
from scripts import screenshots
from slurm_cluster.project import Project
from slurm_cluster.state import cluster_state
from slurm_cluster.views import picture

HOSTILE = (
    "\"'><script>console.log(1)</script><img src=https://192.0.2.1/x onerror=console.log(2)></style></title>"
    "<svg onload=console.log(3)>" + "W" * 100
)
# elements that overflow the window, their section, or their box in the drawing
OVERFLOW = """
(() => {
  const shown = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.tips, marker, title'));
  const out = (e, w) => { const a = e.getBoundingClientRect(), b = w.getBoundingClientRect();
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1; };
  const hidden = e => getComputedStyle(e.closest('thead') || e).clipPath !== 'none';
  const name = e => `${e.tagName} ${e.textContent.trim().slice(0, 40)}`;
  const window_ = document.documentElement;
  return [
    ...shown.filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && !hidden(e) && !e.closest('svg')).map(name),
    ...shown.filter(e => !hidden(e) && out(e, window_)).map(name),
    ...shown.filter(e => e.closest('section') && !hidden(e) && out(e, e.closest('section'))).map(name),
    ...shown.filter(e => e.tagName === 'text' && out(e, e.closest('g').querySelector('rect'))).map(name),
    ...(window_.scrollWidth > innerWidth ? [`the page is ${window_.scrollWidth} wide`] : []),
  ];
})()
"""
# invisible text: without size, or with too little contrast to its background
UNSEEN = """
(() => {
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const colour = text => { const found = text.match(/[\\d.]+/g).map(Number); return found[3] === 0 ? null : found; };
  const behind = e => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c) return c; }
    return [255, 255, 255]; };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faults = [];
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest('title, marker') ) continue;
    if (getComputedStyle(e.closest('thead') || e).clipPath !== 'none') continue;
    const range = document.createRange(); range.selectNode(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (!box.width || !box.height) faults.push(`no size: ${walker.currentNode.data}`);
    const svg = e.closest('svg'), [a, b] = [colour(svg ? getComputedStyle(e).fill : getComputedStyle(e).color),
      svg ? colour(getComputedStyle(e.closest('g').querySelector('rect')).fill) : behind(e)].map(c => light(c.slice(0, 3)));
    const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)}: ${walker.currentNode.data}`);
  }
  return faults;
})()
"""


WIDTHS = [1280, 375]
PAGES = ["real", "hostile", "nothing"]


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a connected cluster, of one with hostile names and tags, and of an empty account."""
    texts, settings = {}, yaml.safe_load((screenshots.ROOT / "invoke.yaml").read_text())
    with screenshots.create_cluster() as project:
        texts["real"] = picture.render_page(project)
        name_everything(project, HOSTILE)
        texts["hostile"] = picture.render_page(project)
    with sandbox.emulated_aws():
        texts["nothing"] = picture.render_page(Project({**settings, "cluster_name": "a" * 40}))
    folder = tmp_path_factory.mktemp("pages")
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


def name_everything(project: Project, name: str) -> None:
    ec2, efs, state = project.ec2, project.efs, cluster_state.load_state(project)
    things = [
        state.vpc["VpcId"],
        state.uqle_instance["InstanceId"],
        *(subnet["SubnetId"] for subnet in state.subnets),
    ]
    ec2.create_tags(Resources=things, Tags=[{"Key": "Name", "Value": name}])
    efs.tag_resource(ResourceId=state.file_system["FileSystemId"], Tags=[{"Key": "Name", "Value": name}])


class Opened:
    """A page in a window of this width, with its requests and console messages."""

    def __init__(self, chromium, file, width):
        self.page = chromium.new_page(viewport={"width": width, "height": 900})
        self.asked, self.said = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        for event in "console", "pageerror":
            self.page.on(event, lambda said: self.said.append(said))
        self.page.goto(file.as_uri())
        self.page.wait_for_timeout(300)  # for late requests


@pytest.fixture(params=WIDTHS)
def opened(request, chromium, pages, name):
    opened = Opened(chromium, pages[name], request.param)
    yield opened
    opened.page.close()


@pytest.mark.parametrize("name", PAGES)
def test_everything_is_visible_without_overflow(opened):
    assert opened.page.evaluate(OVERFLOW) == []
    assert opened.page.evaluate(UNSEEN) == []
    assert (
        opened.page.evaluate(
            "[...document.querySelectorAll('svg[role=img]')].filter(e => e.checkVisibility()).length"
        )
        == 1
    )


@pytest.mark.parametrize("name", PAGES)
def test_no_request_and_no_console_message(opened, pages, name):
    assert opened.asked == [pages[name].as_uri()]
    assert opened.said == []


@pytest.mark.parametrize("name", ["real"])
def test_accessible_names_are_complete(opened):
    """The roles and names that Chromium gives to assistive programs are complete."""
    for heading in ("Network and connections", "UQLE machine: network settings"):
        assert opened.page.get_by_role("heading", name=heading).count() == 1
    assert opened.page.get_by_role("img", name="The network").count() == 1
    assert opened.page.locator("table:not(:has(caption)), th:not([scope]), html:not([lang])").count() == 0


def test_checks_detect_requests_messages_and_overflow(chromium, tmp_path):
    """Without escaping and without the content policy, the hostile name causes all three."""
    file = tmp_path / "bad.html"
    file.write_text(
        f"<!DOCTYPE html><section><h2 style='width: 2000px'>{HOSTILE}</h2></section>", encoding="utf-8"
    )
    opened = Opened(chromium, file, 375)
    assert opened.asked[1:] == ["https://192.0.2.1/x"]
    assert {"1", "2", "3"} <= {message.text for message in opened.said}
    assert opened.page.evaluate(OVERFLOW)
    opened.page.close()
