"""Guards the page of app.py: only requests that the page itself could have sent, to its own host names, get through."""

import contextlib
import ipaddress
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
from gradio.components import Component
from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from utils.instruments import listed
from utils.output.visitors import Visitors

EVERYWHERE = ("0.0.0.0", "::")  # addresses that stand for all addresses of this computer
HOST = re.compile(r"(?:\[([\da-f:.]+)\]|([^:\[\]]+))(?::\d+)?")  # in a header: an IPv6 address or other host, the port
API = "/gradio_api/"
# What Gradio serves, except what the page does not use: the interfaces for programs and for coding agents, and
# fetching from elsewhere. Paths of files are checked in `refusal`.
OPEN = re.compile(
    r"/(config|theme\.css|manifest\.json|favicon\.ico|(static|assets|svelte)/.*)?|"
    rf"{API}(startup-events|info|app_id|upload|upload_progress|queue/join|cancel|reset)"
)
CONNECTIONS = re.compile(rf"{API}(?:heartbeat/(\w+)|queue/data)")  # these stay open while a visitor is there
LONGEST_TEXT = 200  # characters that a visitor enters or chooses
SPARE = 2**16  # bytes of a request in addition to the file that it uploads


class Door:
    """An ASGI application in front of Gradio's, which rejects the requests that `refusal` objects to."""

    def __init__(self, app: ASGIApp, args: SimpleNamespace, visitors: Visitors):
        """`args`: the settings of app.py."""
        self.app, self.visitors = app, visitors
        self.most = round(args.upload * 2**20) + SPARE
        self.files, self.everywhere = f"{API}file={visitors.folder}", args.host in EVERYWHERE
        self.given = set(listed(args.names.lower()))
        self.names = {"localhost", "127.0.0.1", "::1", args.host.lower()} | self.given
        if self.everywhere:
            hostname = socket.gethostname().lower()
            self.names |= {hostname, f"{hostname}.local"}

    def knows(self, host: str) -> bool:
        """Whether a Host header names this page. A name that somebody else registered for this computer's address (DNS
        rebinding) does not; an address cannot be forged in this way."""
        match = HOST.fullmatch(host.lower())
        name = (match[1] or match[2]) if match else ""
        return name in self.names or (self.everywhere and is_address(name))

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence with which a request is refused, or None."""
        headers, path = Headers(scope=scope), scope["path"]
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self.knows(host):
            return 403, "This page is not available under that name: whoever runs it can allow the name with --names."
        if origin is not None and origin.partition("://")[2] not in {host, *self.given}:
            return 403, "Only the page itself may send this request."
        if not (OPEN.fullmatch(path) or CONNECTIONS.fullmatch(path) or path.startswith(self.files)):
            return 404, "There is nothing here."
        length = headers.get("content-length", "")
        if scope["method"] == "POST" and not (length.isascii() and length.isdigit() and int(length[:18]) <= self.most):
            return 413, "This is larger than the page accepts."
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        refused = self.refusal(scope) if scope["type"] == "http" else (403, "The page accepts only HTTP requests.")
        if refused:
            while (await receive()).get("more_body"):  # until it has sent everything, the client ignores the answer
                pass
            return await PlainTextResponse(refused[1], refused[0])(scope, receive, send)
        session = session_of(scope)
        with self.visitors.connected(session) if session else contextlib.nullcontext():
            return await self.app(scope, receive, send)


def session_of(scope: Scope) -> str:
    """Gradio's name for the session of a visitor if this connection stays open while they are there; else ''."""
    match = CONNECTIONS.fullmatch(scope["path"])
    return (match[1] or QueryParams(scope["query_string"]).get("session_hash", "")) if match else ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def could_be_entered(part: Component, value: object) -> bool:
    """Whether a part of the page can have sent a value. What Gradio itself checks later, choices and the range of
    numbers, is not checked here."""
    if isinstance(part, gr.State):  # what is sent for it is ignored
        return True
    if isinstance(part, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(part, gr.Slider | gr.Number) and value is not None:
        return type(value) in (int, float) and abs(value) < 1e18
    if isinstance(part, gr.File) and value is not None:  # given an address elsewhere, Gradio would fetch the file
        known = isinstance(value, dict) and value.get("meta") == {"_type": "gradio.FileData"}
        path = Path(value["path"]) if known and isinstance(value.get("path"), str) else Path()
        return path.is_relative_to(part.GRADIO_CACHE) and ".." not in path.parts and path.is_file()
    values = value if isinstance(part, gr.Dropdown) and part.multiselect and isinstance(value, list) else [value]
    return all(each is None or isinstance(each, str) and len(each) <= LONGEST_TEXT for each in values)


class Blocks(gr.Blocks):
    """Gradio's blocks, but they accept nothing that their parts could not have sent, whatever a program sends."""

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        if not all(map(could_be_entered, block_fn.inputs, inputs)):
            raise gr.Error("The page could not have sent this: reload it.", print_exception=False)
        # The box of a slider is empty while a visitor types another number.
        inputs = [
            part.minimum if value is None and isinstance(part, gr.Slider) else value
            for part, value in zip(block_fn.inputs, inputs, strict=False)  # Gradio counts them below
        ]
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except gr.Error as error:  # a choice that the page does not offer, or a number out of range
            error.print_exception = False
            raise
