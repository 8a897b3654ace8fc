"""The host's HTTP interface in four calls: submit, wait, upload, view. Standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUEST_TIMEOUT_S = 60.0
POLL_S = 0.1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeError:
    """What the host says is wrong with one node."""

    node_id: str  # its id in the prompt; empty when the whole prompt is refused
    node_type: str  # its class_type; "prompt" when the whole prompt is refused
    message: str  # the host's message, or the node's own

    def __str__(self) -> str:
        where = f"{self.node_type} #{self.node_id}" if self.node_id else self.node_type
        return f"{where}: {self.message}"


class PromptFailed(RuntimeError):
    """The host refused the prompt, or a node failed while it ran."""

    def __init__(self, errors: Iterable[NodeError], *, entry: Json | None = None) -> None:
        self.errors = tuple(errors)
        self.entry = entry  # the history entry, when the prompt ran
        super().__init__("\n".join(map(str, self.errors)))

    @property
    def node_type(self) -> str:
        """The class_type of the first node that is wrong."""
        return self.errors[0].node_type

    @property
    def message(self) -> str:
        """The message of the first node that is wrong."""
        return self.errors[0].message


# Calls


def submit(url: str, prompt: Mapping[str, Any], *, client_id: str | None = None, extra_data: Json | None = None) -> str:
    """Queues an API prompt and returns its id; raises PromptFailed when the host finds anything wrong with it."""
    body: Json = {"prompt": prompt, "client_id": client_id or uuid.uuid4().hex, "extra_data": extra_data or {}}
    try:
        answer = json.loads(fetch(f"{url}/prompt", json.dumps(body).encode(), "application/json"))
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        answer = json.loads(error.read())
    if answer.get("error") or answer.get("node_errors"):
        raise PromptFailed(_refusals(answer))
    return answer["prompt_id"]


def wait(url: str, prompt_id: str, timeout_s: float) -> Json:
    """The history entry of a prompt that ended well; raises PromptFailed otherwise, TimeoutError when it runs on."""
    deadline = time.monotonic() + timeout_s
    while not (entry := json.loads(fetch(f"{url}/history/{prompt_id}")).get(prompt_id)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"prompt {prompt_id} was still running after {timeout_s:.0f} s")
        time.sleep(POLL_S)
    if entry["status"]["status_str"] != "success":
        raise PromptFailed(_failures(entry), entry=entry)
    return entry


def upload_image(url: str, path: str | Path, *, name: str | None = None) -> str:
    """Puts a file (an image, a sound or a video) into the host's input folder and returns the name it got there."""
    path = Path(path)
    boundary = uuid.uuid4().hex
    part = f"--{boundary}\r\nContent-Disposition: form-data; name="
    file_part = f'{part}"image"; filename="{name or path.name}"\r\n\r\n'.encode() + path.read_bytes()
    body = file_part + f'\r\n{part}"overwrite"\r\n\r\ntrue\r\n--{boundary}--\r\n'.encode()
    return json.loads(fetch(f"{url}/upload/image", body, f"multipart/form-data; boundary={boundary}"))["name"]


def view(url: str, file: Mapping[str, str]) -> bytes:
    """The bytes of a file that a node left; ``file`` is its record in the history: filename, subfolder, type."""
    fields = {key: file.get(key, "") for key in ("filename", "subfolder", "type")}
    return fetch(f"{url}/view?{urllib.parse.urlencode(fields)}")


# Parts


def fetch(
    url: str, body: bytes | None = None, content_type: str = "", *, timeout_s: float = REQUEST_TIMEOUT_S
) -> bytes:
    """The answer to a GET, or to a POST of ``body``; proxies are not asked. Raises OSError when there is none."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, data=body, headers={"Content-Type": content_type} if content_type else {})
    with opener.open(request, timeout=timeout_s) as response:
        return response.read()


def _refusals(answer: Json) -> list[NodeError]:
    errors = [
        NodeError(node_id, node["class_type"], _sentence(error))
        for node_id, node in answer.get("node_errors", {}).items()
        for error in node["errors"]
    ]
    return errors or [NodeError("", "prompt", _sentence(answer["error"]))]


def _sentence(error: Json) -> str:
    return ": ".join(part for part in (error["message"], error.get("details")) if part)


def _failures(entry: Json) -> list[NodeError]:
    events = dict(entry["status"]["messages"])
    if event := events.get("execution_error"):
        return [NodeError(event["node_id"], event["node_type"], event["exception_message"].strip())]
    event = events.get("execution_interrupted", {})
    return [NodeError(event.get("node_id", ""), event.get("node_type", ""), "interrupted")]
