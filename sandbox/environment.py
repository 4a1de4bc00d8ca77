"""Start the emulated AWS, and block access to every other AWS and every other host."""

import functools
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from moto import settings
from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

# Most of these change moto when they are imported.
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
PROGRAMS = Path(__file__).parent / "bin"  # aws, and an ssh and an scp that only fail
LOGGERS = ("werkzeug", "moto", "botocore")
LOG_FILE = "emulated-aws.log"  # in the home folder
PUBLIC_ADDRESS, PUBLIC_ADDRESS_PATH = "203.0.113.7", "/checkip"  # of the user's machine
BLOCKING_PROXY = "http://127.0.0.1:9"  # the discard port, on which nothing listens

# AWS always does both; moto does them only on request.
settings.ENABLE_AMI_VALIDATION = True
settings.ENABLE_KEYPAIR_VALIDATION = True
settings.ec2_load_default_amis = lambda: False  # `public_images` has the images
# Without the cache, moto searches its folders at each call.
find_backend = DomainDispatcherApplication.get_backend_for_host
DomainDispatcherApplication.get_backend_for_host = functools.cache(find_backend)


@contextmanager
def emulated_aws() -> Iterator[None]:
    """Run the emulated AWS, as the only AWS of this process and of its child processes."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    server._server.handle_error = log_error
    api_calls.Moto.app = server._server.app
    api_calls.Moto.app_for_stacks = record.add_recording(faults.add_faults("stacks"), "stacks")
    server._server.app = add_public_address(record.add_recording(faults.add_faults("tools"), "tools"))
    saved_environment = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="sandbox-home-") as home:
            isolate_environment("http://{}:{}".format(*server.get_host_and_port()), home)
            reset()
            with log_to_file(Path(home) / LOG_FILE):
                yield
    finally:
        os.environ.clear()
        os.environ.update(saved_environment)
        api_calls.client.cache_clear()
        server.stop()


def log_error(*_: object) -> None:
    """Log an error of a connection, for example of a stopped client, instead of printing it."""
    logging.getLogger("werkzeug").error("A connection failed.", exc_info=True)


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Write the messages of the emulated AWS to a file, so that they are not mistaken for a task's output."""
    handler = logging.FileHandler(path, delay=True)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    saved = [logger.handlers for logger in loggers]  # werkzeug adds a handler that prints
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, handlers in zip(loggers, saved, strict=True):
            logger.handlers, logger.propagate = handlers, True
        handler.close()


def add_public_address(app: api_calls.WsgiApp) -> api_calls.WsgiApp:
    """Return an app that also answers as https://checkip.amazonaws.com does."""

    def answer(environ: api_calls.Environ, start_response: api_calls.StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PUBLIC_ADDRESS_PATH:
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{PUBLIC_ADDRESS}\n".encode()]

    return answer


def isolate_environment(endpoint: str, home: str) -> None:
    """Set this process's environment so that only the emulated AWS can be reached.

    Args:
        endpoint: the URL of the emulated AWS.
        home: the folder that replaces the user's home.

    """
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), BLOCKING_PROXY)
    proxies["no_proxy"] = "127.0.0.1,localhost"
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint,
        AWS_ENDPOINT_URL_CHECKIP=endpoint + PUBLIC_ADDRESS_PATH,
        AWS_ACCESS_KEY_ID="sandbox",
        AWS_SECRET_ACCESS_KEY="sandbox",  # noqa: S106 - not a real one
        AWS_DEFAULT_REGION=DEFAULT_REGION,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        HOME=home,
        SANDBOX_PYTHON=sys.executable,
        PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        **proxies,
        **{name.upper(): value for name, value in proxies.items()},
    )


def reset() -> None:
    """Delete everything in the emulated AWS except what other accounts publish."""
    urlopen(Request(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()  # noqa: S310 - loopback
    public_images.publish_templates()
