"""The way into the emulated AWS, and the cutting off of every other way out."""

import functools
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

# Most of these give moto what it lacks, by being imported.
from sandbox import (  # noqa: F401
    api_calls,
    ec2,
    faults,
    fleet,
    moto_patches,
    policies,
    public_images,
    record,
    resource_types,
)

DEFAULT_REGION = "eu-west-2"
PROGRAMS = Path(__file__).parent / "bin"  # an ssh that connects to nothing
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens on it

# As AWS does, and moto only when asked.
settings.ENABLE_AMI_VALIDATION = True
settings.ENABLE_KEYPAIR_VALIDATION = True
settings.ec2_load_default_amis = lambda: False  # the images of this AWS are in `published`
# moto looks through its folders at each call to find whose it is.
DomainDispatcherApplication.get_backend_for_host = functools.cache(
    DomainDispatcherApplication.get_backend_for_host
)


@contextmanager
def emulated_aws() -> Iterator[None]:
    """Run the emulated AWS, as the only AWS of this process and of those that it starts, while the context lasts."""
    for name in "werkzeug", "moto", "botocore":
        logging.getLogger(name).setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    api_calls.Moto.aws, api_calls.Moto.way = server._server.app, record.way(faults.way_of_stacks, "stacks")
    server._server.app = record.way(faults.way_of_tools, "tools")
    before = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="sandbox-home-") as home:
            cut_off("http://{}:{}".format(*server.get_host_and_port()), home)
            reset()
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        api_calls.client.cache_clear()
        server.stop()


def cut_off(endpoint: str, home: str) -> None:
    """Leave this process's environment no other AWS, and no other host, than the emulated one.

    Args:
        endpoint: the URL of the emulated AWS.
        home: the folder that stands in for the person's home.

    """
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), NOWHERE) | {
        "no_proxy": "127.0.0.1,localhost"
    }
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="sandbox",
        AWS_SECRET_ACCESS_KEY="sandbox",  # noqa: S106 - nobody's
        AWS_DEFAULT_REGION=DEFAULT_REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        HOME=home,
        PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        **proxies,
        **{name.upper(): value for name, value in proxies.items()},
    )


def reset() -> None:
    """Empty the emulated AWS, but for what others publish in it."""
    urlopen(Request(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()  # noqa: S310 - loopback
    public_images.publish_templates()
