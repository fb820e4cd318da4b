"""Many visitors at once to the page of app.py, who do their worst.

python tests/crowd.py                                   20 visitors, 100 bad uploads; the page's memory, files and waits
python tests/crowd.py --visitors 100 --uploads 1000     the same with more
"""

import argparse
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
API = "gradio_api/"
JSON = {"Content-Type": "application/json"}
MIDI = "a MIDI file of mine"
SETTLED = 70  # seconds after which the page should be as if nobody had been there


@contextlib.contextmanager
def page(folder: Path, *flags: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """A page that runs within this context: its address, and its process, whose temporary files are in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), *flags]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        try:
            assert b"The page is at" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}/", process
        finally:
            process.terminate()


class Guest:
    """A visitor without a browser. Like a browser, it keeps a connection open, until `leave`."""

    def __init__(self, address: str):
        import httpx  # comes with Gradio, which not everybody has

        self.http = httpx.Client(base_url=address, timeout=300, trust_env=False)
        self.hash = secrets.token_hex(6)
        config = self.http.get("config").json()
        self.components = {each["id"]: each for each in config["components"]}
        self.events = config["dependencies"]
        self.open = contextlib.ExitStack()
        self.open.enter_context(self.http.stream("GET", f"{API}heartbeat/{self.hash}"))
        arrived = self.ask("", "load")[-1]["output"]["data"]
        self.set(Weights=arrived[1]["value"])

    def leave(self) -> None:
        self.open.close()
        self.http.close()

    def named(self, name: str) -> int:
        """The number of the component with this label, text or element id; 0 if there is none."""
        keys = ("label", "elem_id", "value")
        return next(
            (i for i, each in self.components.items() if name in [each["props"].get(key) for key in keys] and name), 0
        )

    def set(self, **values: object) -> None:
        for label, value in values.items():
            self.components[self.named(label.replace("_", " "))]["props"]["value"] = value

    def join(self, name: str, event: str) -> str:
        """Trigger an event of a component, without waiting for the result."""
        number = self.named(name)
        chosen = next(each for each in self.events if [number, event] in each["targets"])
        entered = [self.components[i] for i in chosen["inputs"]]
        data = [each["props"].get("value", "" if each["type"] == "textbox" else None) for each in entered]
        body = {"data": data, "fn_index": chosen["id"], "session_hash": self.hash}
        return (
            self.http.post(f"{API}queue/join", content=json.dumps(body), headers=JSON)
            .raise_for_status()
            .json()["event_id"]
        )

    def ask(self, name: str, event: str, until: str = "process_completed") -> list[dict]:
        """Trigger an event of a component, and return the messages that follow, the last one of the kind `until`."""
        self.join(name, event)
        messages = []
        with self.http.stream("GET", f"{API}queue/data", params={"session_hash": self.hash}) as stream:
            for line in stream.iter_lines():
                messages += [json.loads(line[6:])] if line.startswith("data: ") else []
                if messages and messages[-1]["msg"] == until:
                    break
        return messages

    def upload(self, name: str, data: bytes) -> list[dict]:
        """Upload a file to begin with: the messages about it, or the status with which it is refused."""
        response = self.http.post(f"{API}upload", files={"files": (name, data)})
        if response.status_code != 200:
            return [{"refused": response.status_code}]
        return self.begin_with(*response.json())

    def begin_with(self, path: str) -> list[dict]:
        self.set(Begin_with=MIDI, MIDI_file={"path": path, "meta": {"_type": "gradio.FileData"}})
        return self.ask("MIDI file", "change")


def files_of(messages: object) -> list[str]:
    """The paths of the files that some messages show."""
    if isinstance(messages, dict):
        own = [messages["path"]] if isinstance(messages.get("path"), str) else []
        return own + [path for value in messages.values() for path in files_of(value)]
    return [path for value in messages for path in files_of(value)] if isinstance(messages, list) else []


def all_generate(guests: list[Guest]) -> tuple[list[set[str]], list[dict], float]:
    """The files that each of some visitors is shown when all want music at once, what they are told about the queue,
    and the seconds until the last one has its music."""
    begun = time.monotonic()
    with ThreadPoolExecutor(len(guests)) as pool:
        messages = list(pool.map(lambda guest: guest.ask("generate", "click"), guests))
    told = [message for each in messages for message in each if message["msg"] == "estimation"]
    return [set(files_of(each)) for each in messages], told, time.monotonic() - begun


def held(process: subprocess.Popen, folder: Path) -> tuple[float, int, float]:
    """The memory that a page takes in MB, according to Linux; how many temporary files it has, and their MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0]) / 1024
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return memory, len(sizes), sum(sizes) / 2**20


def bad_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files that are not music, or are damaged, some under names that could do harm."""
    head, song = b"MThd\0\0\0\6\0\0\0\1\1\xe0", (ROOT / "samples" / "prior.mid").read_bytes()
    kinds = [b"", b"hello", head, head + b"MTrk\xff\xff\xff\xff", song[:70], bytes(3 * 2**20), song[:40] + b"\xff" * 90]
    names = [
        "a.mid",
        "<img src=x onerror=alert(1)>.mid",
        "../../../etc/passwd.mid",
        "\x1b[31m\x07.mid",
        "a" * 300 + ".mid",
    ]
    for number in range(count):
        yield names[number % len(names)], kinds[number % len(kinds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--uploads", type=int, default=100)
    args, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch, page(Path(scratch), "--away", "0", *flags) as (address, process):
        folder = Path(scratch)

        def tell(when: str) -> None:
            print("{:<44}{:7.0f} MB{:6} files{:7.1f} MB".format(when, *held(process, folder)), flush=True)

        tell("started")
        resident = Guest(address)
        resident.ask("generate", "click")
        tell("one visitor")
        guests = [Guest(address) for _ in range(args.visitors)]
        shown, told, waited = all_generate(guests)
        assert all(shown) and sum(map(len, shown)) == len(set().union(*shown)), "somebody saw another's files"
        tell(f"{args.visitors} more, of whom the last waited {waited:.0f} s")
        foretold = sum(message["rank_eta"] is not None for message in told)
        print(f"{foretold} of {len(told)} messages to those in the queue said how long it takes")
        for number, bad in enumerate(bad_files(args.uploads)):
            guests[number % len(guests)].upload(*bad)
        tell(f"{args.uploads} bad uploads")
        for guest in guests:
            guest.set(Begin_with="nothing", New_notes=2000)
            guest.join("generate", "click")
        time.sleep(1)
        for guest in guests:
            guest.leave()
        begun = time.monotonic()
        resident.ask("generate", "click")
        tell(f"they left in the middle; the next waited {time.monotonic() - begun:.0f} s")
        time.sleep(SETTLED)
        tell(f"{SETTLED:g} s later")


if __name__ == "__main__":
    main()
