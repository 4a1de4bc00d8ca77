"""A client of the Slurm REST API that runs on another machine than the head node."""

import re
import time
import warnings
from typing import Any

import jwt
import requests

from tests.nodes.support.machine import wait_until

UNFINISHED_STATES = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}


class RestApi:
    """The Slurm REST API of a head node.

    Args:
        address: of the head node.
        key: signs the tokens.

    """

    def __init__(self, address: str, key: str) -> None:
        self.url, self.key = f"http://{address}:8082", key
        self.session = requests.Session()
        self.session.trust_env = False  # do not use a proxy

    def sign_token(self, key: str | None = None, algorithm: str = "HS256", **claims: Any) -> str:
        """Sign a token, by default for user slurm and ten minutes.

        Args:
            key: instead of the head node's key.
            algorithm: "none" leaves the token unsigned.
            claims: instead of, or in addition to, the default ones.

        """
        now = int(time.time())
        payload = {"sun": "slurm", "iat": now, "exp": now + 600} | claims
        with warnings.catch_warnings(action="ignore"):  # the key is short for HS512
            return jwt.encode(payload, "" if algorithm == "none" else key or self.key, algorithm)

    def request(self, method: str, path: str, token: str | None = "", **body: Any) -> requests.Response:
        """Send a request.

        Args:
            method: GET or POST.
            path: below the API's URL.
            token: by default a valid one; None sends no token.
            body: sent as JSON.

        """
        headers = {} if token is None else {"X-SLURM-USER-TOKEN": token or self.sign_token()}
        url = f"{self.url}{path}"
        return self.session.request(method, url, headers=headers, json=body or None, timeout=20)

    def get(self, path: str) -> dict[str, Any]:
        """Send a GET request with a valid token. Return the response, which must be without errors."""
        response = self.request("GET", path)
        assert response.status_code == 200, response.text
        tree: dict[str, Any] = response.json()
        assert not tree.get("errors"), response.text
        return tree

    def find_newest_version(self) -> str:
        """Return the newest API version that the server supports."""
        paths = self.get("/openapi/v3")["paths"]
        versions = {match[1] for path in paths if (match := re.match(r"/slurm/(v[\d.]+)/", path))}
        return max(versions, key=lambda version: [int(number) for number in version[1:].split(".")])

    def run_job(self, script: str, timeout: float = 60) -> dict[str, Any]:
        """Submit a job of user slurm, wait until it has ended, and return Slurm's description of it."""
        version = self.find_newest_version()
        job = {
            "name": "test",
            "partition": "queue1",
            "current_working_directory": "/shared",
            "standard_output": "/shared/%j.out",
            "environment": ["PATH=/usr/local/bin:/usr/bin:/bin"],
        }
        submit = f"/slurm/{version}/job/submit"
        response = self.request("POST", submit, script=f"#!/bin/bash\n{script}\n", job=job)
        assert response.status_code == 200, response.text
        ended_job: dict[str, Any] = {}

        def has_ended() -> bool:
            ended_job.update(self.get(f"/slurm/{version}/job/{response.json()['job_id']}")["jobs"][0])
            return not UNFINISHED_STATES & set(ended_job["job_state"])

        wait_until(has_ended, timeout, "the job has ended")
        return ended_job
