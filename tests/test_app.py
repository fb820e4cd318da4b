"""The page of app.py: as visitors use it, in a headless browser, as programs misuse it, and its parts alone."""

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Hashable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import crowd
import numpy as np
import pytest
from conftest import ROOT, band_piece, one_line_error, random_piece, run, save
from test_completion import notes

from utils import checkpoint, midi, settings
from utils.constraints import Constraint
from utils.errors import UserError
from utils.output import beside, order, words
from utils.output.order import AROUND, Order
from utils.output.visitors import PATIENCE, UNCLAIMED, Left, Visitors
from utils.piece import Piece
from utils.sampler import Sampling
from utils.stepper import Stepper
from utils.tonality import Tonality

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SEED = "#seed input, #seed textarea"
needs_gradio = pytest.mark.skipif(not find_spec("gradio"), reason="no Gradio: pip install -r requirements-app.txt")
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER and find_spec("selenium")),
    reason="no browser: apt-get install chromium chromium-driver, pip install -r requirements-dev.txt",
)


@pytest.fixture(scope="module")
def served(weights: Path, band: Path, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The address of a page that offers the tiny weights and the older ones of the band; and the folder of its
    temporary files. When the page ends, nothing that visitors made is left."""
    scratch, folder = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("offered")
    for modified, path in enumerate([band, weights]):
        os.utime(shutil.copy(path, folder), (modified, modified))
    with crowd.page(scratch, "--weights-dir", str(folder), "--away", "0") as (address, _):
        assert list(scratch.glob("music-*"))
        yield address, scratch
    assert os.name == "nt" or not list(scratch.glob("music-*"))


@pytest.fixture
def address(served: tuple[str, Path]) -> str:
    return served[0]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> object:
    """The value of `condition`, once it is true. It is tried again if the page replaced what it looked at."""
    from selenium.common.exceptions import StaleElementReferenceException

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(StaleElementReferenceException):
            value = condition()
            if value:
                return value
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


class Visitor:
    """A browser on the page."""

    def __init__(self, address: str, downloads: Path):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1800"):
            options.add_argument(flag)
        # The browser itself contacts no host, not even to look for updates.
        for flag in ("background-networking", "component-update", "sync"):
            options.add_argument(f"--disable-{flag}")
        options.add_argument("--autoplay-policy=no-user-gesture-required")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        self.downloads = downloads
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.get(address)
        wait_for(lambda: self.all("#generate"), "the page")
        wait_for(lambda: self.all("input[aria-label='Weights']")[0].get_attribute("value"), "the weights")

    def all(self, selector: str) -> list:
        """The visible elements."""
        return [element for element in self.driver.find_elements("css selector", selector) if element.is_displayed()]

    def named(self, selector: str, text: str) -> list:
        """The visible elements that show the text."""
        return [element for element in self.all(selector) if text in element.text]

    def text(self, selector: str) -> str:
        return self.driver.find_element("css selector", selector).text

    def choose(self, label: str, option: str) -> None:
        wait_for(lambda: [box.click() for box in self.all(f"input[aria-label='{label}']")[:1]], label)
        wait_for(lambda: [o.click() for o in self.named("li[role='option']", option)[:1]], option)

    def upload(self, path: Path) -> None:
        find = self.driver.find_elements
        wait_for(lambda: find("css selector", "input[type='file']"), "a place for files")[0].send_keys(str(path))

    def fill(self, field: str, text: object) -> None:
        (box,) = self.all(field)
        box.clear()
        box.send_keys(str(text))

    def seed(self, number: int) -> None:
        """Enter a seed; its field is folded away at first."""
        if not self.all(SEED):
            self.driver.find_element("css selector", "#more button").click()
        wait_for(lambda: self.all(SEED), "the field of the seed")
        self.fill(SEED, number)

    def generate(self, name: str) -> None:
        """Press the button and wait until the piece of that name, and everything else, is there."""
        self.driver.find_element("id", "generate").click()
        wait_for(lambda: name in [title.text for title in self.all("h3")], name)
        wait_for(lambda: "Seed" in self.text("#message"), "the end")

    def press(self, name: str) -> None:
        wait_for(lambda: [b.click() for b in self.named("button, a", name)[-1:] if b.text.strip() == name], name)

    def download(self, name: str, ending: str) -> Path:
        """Press the button and return the file that is downloaded."""
        before = set(self.downloads.glob("*"))
        self.press(name)

        def new() -> list[Path]:
            return [path for path in set(self.downloads.glob("*" + ending)) - before if path.stat().st_size]

        return wait_for(new, f"the download of {name}")[0]

    def hosts(self) -> set[str]:
        """All hosts that the page contacted, for fonts and counters too."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return {url.split("/")[2].split(":")[0] for url in urls if url.startswith("http")}


@pytest.fixture
def visitor(address: str, tmp_path: Path) -> Iterator[Visitor]:
    browser = Visitor(address, tmp_path)
    yield browser
    browser.driver.quit()


@needs_gradio
@needs_browser
def test_an_uploaded_fragment_is_continued(visitor: Visitor, address: str, tmp_path: Path):
    given = midi.read(save(random_piece(3), tmp_path / "my tune.mid"))
    visitor.choose("Begin with", "a MIDI file of mine")
    visitor.upload(tmp_path / "my tune.mid")
    wait_for(lambda: len(visitor.all("audio")) == 1 and visitor.all("img"), "sound and picture of the fragment")
    visitor.seed(7)
    visitor.generate("tiny-seed-7-001")
    wait_for(lambda: len(visitor.all("audio")) == 2, "the player")

    # It can be heard and seen.
    audio = visitor.all("audio")[1]
    wait_for(lambda: audio.get_property("duration"), "the length of the sound")
    visitor.driver.execute_script("arguments[0].muted = true; arguments[0].play()", audio)
    wait_for(lambda: audio.get_property("currentTime") > 0.2, "the sound to go on")
    assert audio.get_property("duration") > 10
    pictures = wait_for(lambda: visitor.all(".roll img"), "the piano roll")
    wait_for(lambda: pictures[-1].get_property("naturalWidth") == 2100, "the piano roll")

    # The downloads are what their buttons say, and the piece begins with what was uploaded.
    piece = midi.read(visitor.download("MIDI", ".mid"))
    notes = set(zip(piece.onset.tolist(), piece.pitch.tolist(), strict=True))
    used = given.take(slice(100))
    assert set(zip(used.onset.tolist(), used.pitch.tolist(), strict=True)) <= notes
    assert len(piece) == len(used) + 200
    with wave.open(str(visitor.download("WAV", ".wav"))) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(piece.seconds() + 2, abs=0.01)
    from music21 import converter

    assert converter.parse(visitor.download("MusicXML", ".musicxml"), forceSource=True).recurse().notes

    # The same seed and settings give the same piece.
    visitor.generate("tiny-seed-7-002")
    again = midi.read(visitor.download("MIDI", ".mid"))
    assert all((getattr(again, name) == getattr(piece, name)).all() for name in midi.COLUMNS)

    # Continue from here.
    visitor.press("Continue from here")
    wait_for(lambda: "7-002" in visitor.all("input[aria-label='Begin with']")[0].get_attribute("value"), "the prior")
    wait_for(lambda: len(visitor.all("audio")) == 2, "the fragment")
    visitor.seed(8)
    visitor.generate("tiny-seed-8-001")
    longer = midi.read(visitor.download("MIDI", ".mid"))
    assert len(longer) == len(piece) + 200

    # Another visitor sees nothing of all this, and no other host was contacted.
    other = Visitor(address, tmp_path)
    assert not other.all("audio") and not other.all("img")
    assert "seed" not in other.text("body")
    other.driver.quit()
    assert visitor.hosts() == {"127.0.0.1"}


@needs_gradio
@needs_browser
def test_a_bad_upload_is_answered_with_a_message(visitor: Visitor, tmp_path: Path):
    (tmp_path / "no music.mid").write_text("hello")
    (tmp_path / "words.txt").write_text("hello")
    with open(tmp_path / "large.mid", "wb") as file:
        file.truncate(100 * 2**20)
    visitor.choose("Begin with", "a MIDI file of mine")
    wait_for(lambda: "Choose a MIDI file" in visitor.text("#trouble"), "a hint")
    visitor.driver.find_element("id", "generate").click()
    wait_for(lambda: "nothing to begin with" in visitor.text("#message"), "a message")
    for name, sentence in (("words.txt", "Invalid file type"), ("large.mid", "exceed the maximum allowed size")):
        visitor.upload(tmp_path / name)
        wait_for(lambda sentence=sentence: sentence in visitor.text("body"), sentence)
    visitor.upload(tmp_path / "no music.mid")
    wait_for(lambda: visitor.text("#trouble") == "no music.mid cannot be used: it is not a MIDI file.", "a message")
    assert "Traceback" not in visitor.text("body")
    visitor.driver.find_element("id", "generate").click()
    wait_for(lambda: "nothing to begin with" in visitor.text("#message"), "a message")


@needs_gradio
@needs_browser
def test_a_part_is_kept_and_bars_are_rewritten(visitor: Visitor, tmp_path: Path):
    save(band_piece(50), tmp_path / "tune.mid")
    visitor.choose("Weights", "band")
    visitor.choose("Begin with", "a MIDI file of mine")
    visitor.upload(tmp_path / "tune.mid")
    wait_for(lambda: len(visitor.all("audio")) == 1, "the fragment")
    assert visitor.named("label", "New notes") and not visitor.all("input[aria-label='Parts to keep']")
    wait_for(lambda: [label.click() for label in visitor.named("label", AROUND)[:1]], "the choice")
    visitor.choose("Parts to keep", "Flute")
    assert not visitor.named("label", "New notes") and not visitor.all("input[aria-label='Length in']")
    visitor.seed(7)
    visitor.generate("band-seed-7-001")
    given = midi.read(tmp_path / "tune.mid")
    given = given.take(given.onset <= given.onset[99])  # whole chords
    made = midi.read(visitor.download("MIDI", ".mid"))
    assert notes(made, of_flute(made)) == notes(given, of_flute(given)) and notes(made) != notes(given)
    assert "nats a note" in visitor.text(".title")

    visitor.fill("#bars-1 input, #bars-1 textarea", "9")
    visitor.press("Another version of these bars")
    wait_for(lambda: "has the bars 1 to 4" in visitor.text("#message"), "a message")
    assert visitor.named("h3", "band-seed-7-001")
    visitor.fill("#bars-1 input, #bars-1 textarea", "2")
    visitor.press("Another version of these bars")
    wait_for(lambda: not visitor.named("h3", "seed-7-") and "Seed" in visitor.text("#message"), "other bars")
    again = midi.read(visitor.download("MIDI", ".mid"))
    assert notes(again, ~in_bars(again, 2, 2)) == notes(made, ~in_bars(made, 2, 2))
    assert notes(again) != notes(made)
    # The first version can be chosen to begin with.
    visitor.choose("Begin with", "band-seed-7-001")
    wait_for(lambda: len(visitor.all("audio")) == 2, "the piece as a fragment")


def of_flute(piece: Piece) -> np.ndarray:
    """(N,) which notes are the flute's."""
    return np.array([part.called() == "Flute" for part in piece.parts])[piece.part]


def in_bars(piece: Piece, first: int, last: int) -> np.ndarray:
    """(N,) which notes begin in these bars, in 4/4."""
    bar = piece.onset // (4 * piece.ticks_per_quarter) + 1
    return (first <= bar) & (bar <= last)


def status(request: urllib.request.Request | str) -> int:
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


@needs_gradio
def test_no_other_file_is_served_and_no_large_one_accepted(address: str, weights: Path):
    for path in ("/etc/passwd", weights, ROOT / "app.py", "../app.py", "..%2fapp.py", ROOT / "samples" / "prior.mid"):
        assert status(f"{address}gradio_api/file={path}") in (403, 404), path
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../a.mid"\r\n\r\n%b\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    upload = f"{address}gradio_api/upload"
    assert status(urllib.request.Request(upload, body % bytes(3 * 2**20), headers)) == 413
    small = urllib.request.Request(upload, body % b"small", headers)
    (path,) = json.load(urllib.request.urlopen(small, timeout=20))
    assert Path(path).name == "a.mid" and Path(path).parents[1].name.startswith("music-")


@needs_gradio
def test_only_finished_weights_and_fragments_are_offered(tmp_path: Path):
    from utils.output import offered

    for name in ("music.weights.h5", "music.last.weights.h5", ".123.music.weights.h5", "notes.txt"):
        (tmp_path / name).touch()
    for name in ("prior.mid", "prior-waltz.mid", "prior-continued-001.mid", "music-001.mid"):
        (tmp_path / name).touch()
    assert list(offered.networks(str(tmp_path))) == ["music"]
    assert list(offered.fragments(str(tmp_path))) == ["prior", "prior-waltz"]


@needs_gradio
def test_the_network_trained_last_is_offered_first(tmp_path: Path, monkeypatch):
    from utils.output import offered, page

    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "bundled.weights.h5")
    # The bundled file may be the newest: a checkout gives it the time of the checkout.
    for name, modified in (("jazz", 100), ("music", 300), ("music.old-1", 200), ("bundled", 400)):
        path = tmp_path / f"{name}.weights.h5"
        path.touch()
        os.utime(path, (modified, modified))
    names = ["music", "music.old-1", "jazz", "bundled"]
    assert list(offered.networks(str(tmp_path))) == names
    one = page.Page(settings.parse(ROOT / "app.py", ["--weights-dir", str(tmp_path)]), str(tmp_path))
    dropdown = one.arrive(SimpleNamespace(session_hash="me"))[one.weights]
    assert dropdown.value == "music" and [value for _, value in dropdown.choices] == names


@needs_gradio
def test_nobody_can_ask_for_more_than_the_settings_allow(tmp_path: Path):
    import gradio

    from utils.output import page

    one = page.Page(settings.parse(ROOT / "app.py", ["--notes", "50", "--bars", "8", "--count", "3"]), str(tmp_path))
    assert [one.notes.preprocess(50), one.bars.preprocess(8), one.count.preprocess(3)] == [50, 8, 3]
    for slider, value in ((one.notes, 51), (one.bars, 9), (one.count, 4)):
        with pytest.raises(gradio.Error):
            slider.preprocess(value)


@needs_gradio
def test_missing_weights_and_wrong_numbers_are_reported(tmp_path: Path, weights: Path):
    from utils.output import page

    def answer(folder: Path, **changes: object) -> str:
        """The last message to a visitor who generates with these changes to the values on the page."""
        one = page.Page(settings.parse(ROOT / "app.py", ["--weights-dir", str(folder)]), str(tmp_path))
        one.visitors.arrive("me")
        asked = {part: getattr(part, "value", None) for part in vars(one).values() if isinstance(part, Hashable)}
        asked |= {one.weights: "tiny", one.session: "me"}
        asked |= {getattr(one, name): value for name, value in changes.items()}
        return list(one.generate(asked, lambda *_, **__: None))[-1][one.message]

    assert "Choose weights" in answer(tmp_path, seed="")
    assert "'x' is not a whole number" in answer(weights.parent, seed="x")
    assert "“Tempo” is 2000" in answer(weights.parent, seed="", tempo=2000)


@needs_gradio
def test_another_version_is_made_of_the_piece_beside_the_button(tmp_path: Path, weights: Path):
    from utils.output import page

    one = page.Page(settings.parse(ROOT / "app.py", ["--weights-dir", str(weights.parent)]), str(tmp_path))
    asked = {part: getattr(part, "value", None) for part in vars(one).values() if isinstance(part, Hashable)}
    slot, piece = one.slots[0], random_piece(1)
    one.visitors.arrive("me").made["mine"] = piece
    asked |= {one.weights: "tiny", one.session: "me", slot.name: "mine", slot.bars: "3"}
    asked |= {one.seed: "7", one.mode: AROUND, one.count: 4}
    wanted = one.ordered(asked, slot)
    assert wanted.prior is piece and wanted.seed is None  # the same seed would make the same version again and again
    assert (wanted.mode, wanted.fill, wanted.count) == (order.ANEW, "3", 1)
    with pytest.raises(UserError, match="which bars"):
        one.ordered({**asked, slot.bars: " "}, slot)
    with pytest.raises(UserError, match="The temperature 'warm' is not a number"):
        one.ordered({**asked, one.temperature: "warm"}, slot)


@needs_gradio
@pytest.mark.parametrize(
    ("source", "mode", "shown"),
    [
        ("nothing", "some bars anew", {"unit", "notes", "players"}),
        ("prior", "a continuation", {"unit", "notes"}),
        ("prior", "new parts around those kept", {"keep", "players"}),
        ("prior", "some bars anew", {"keep", "fill"}),
    ],
)
def test_only_fields_that_apply_are_shown(tmp_path: Path, source: str, mode: str, shown: set[str]):
    from utils.output import page

    one = page.Page(settings.parse(ROOT / "app.py", []), str(tmp_path))
    names = ["fill", "keep", "unit", "notes", "bars", "players"]
    changes = one.arrange(source, mode, "notes")
    assert {name for name, change in zip(names, changes, strict=True) if change.visible} == shown


def test_an_order_is_filled_in_bars_and_in_a_key(weights: Path):
    music = filled(weights, bars=4, key="D dorian", key_lock=True, count=2)
    assert [one.nats for one in music.made] == sorted(one.nats for one in music.made) and len(music.made) == 2
    line = beside.about(weights, music.how, music.made[0].key)
    assert "seed 5" in line and "temperature 0.9" in line and "in D dorian" in line
    for one in music.made:
        assert one.told().startswith("in D dorian, ")
        assert set(one.piece.pitch % 12) <= set(np.flatnonzero(Tonality(2, "dorian").pitch_classes))
        assert (one.piece.onset + one.piece.duration).max() <= 4 * 4 * one.piece.ticks_per_quarter


def test_an_order_continues_at_a_bar_line_in_another_tempo(weights: Path):
    prior = random_piece(1).take(slice(20))
    music = filled(weights, prior=prior, notes=10, at_bar=True, tempo=90)
    (one,) = music.made
    assert notes(music.before, slice(20)) == notes(prior)
    assert one.piece.onset[20] % 1920 == 0 and one.piece.tempos == [(0, round(60e6 / 90))]


def test_an_order_keeps_parts_and_the_other_bars(band: Path):
    prior = band_piece(50)
    around = filled(band, prior=prior, mode=AROUND, keep=["Flute"], players=["Bass"])
    piece = around.made[0].piece
    assert notes(piece, of_flute(piece)) == notes(prior, of_flute(prior))
    assert {part.called() for part in piece.parts} == {"Flute", "Bass"}
    assert notes(around.before) == notes(prior, of_flute(prior))  # the picture shows what was given
    assert "Written to go with it: Bass." in around.remarks and around.how.temperature == 0.8

    other = filled(band, prior=prior, mode=order.ANEW, keep=["Flute"], fill="2-3", players=["Bass"])
    (anew,) = other.made
    assert notes(other.before) == notes(prior, ~in_bars(prior, 2, 3) | of_flute(prior))
    for which in (~in_bars(prior, 2, 3), of_flute(prior)):
        assert set(notes(prior, which)) <= set(notes(anew.piece))
    assert notes(anew.piece) != notes(prior)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"style": ["jazz"]}, "have learnt no styles"),
        ({"key": "H minor"}, "the scales are"),
        ({"key_lock": True}, "keeps the music in a key"),
        ({"instrument": "Kazoo"}, "Kazoo"),
        ({"mode": AROUND}, "Choose the parts to keep"),
        ({"mode": AROUND, "keep": ["Tuba"]}, "The fragment has no part 'Tuba'"),
        ({"mode": order.ANEW}, "which bars"),
        ({"mode": order.ANEW, "fill": "x"}, "names no bars"),
        ({"mode": order.ANEW, "fill": "9"}, "has the bars 1 to 8"),
        ({"mode": order.ANEW, "fill": "2", "most": 10}, "with more than 10 it can only be continued"),
    ],
)
def test_an_order_that_cannot_be_filled_is_refused(weights: Path, wish: dict, sentence: str):
    prior = random_piece(1) if "mode" in wish else None
    with pytest.raises(UserError, match=sentence):
        filled(weights, prior=prior, **wish)


def filled(weights: Path, *also: Constraint, **wish: object) -> order.Filled:
    """The result of an order with these fields."""
    learnt = checkpoint.load(weights)
    return order.filled(Order(weights, seed=5, **wish), learnt, Stepper(learnt), *also)


def test_without_gradio_it_says_what_to_install():
    code = (
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "import app; from utils import settings; app.main(settings.parse('app.py', []))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "pip install -r requirements-app.txt" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--notes", 5], "at least 20"),
        (["--bars", 1], "at least 2"),
        (["--count", 0], "at least 1"),
        (["--upload", -1], "at least"),
    ],
)
def test_wrong_settings_give_a_one_line_error(flags: list, sentence: str):
    assert sentence in one_line_error(run("app.py", *flags))


@needs_gradio
def test_a_taken_port_and_a_foreign_address_give_a_one_line_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for host in ("127.0.0.1", "0.0.0.0"):
            said = one_line_error(run("app.py", "--port", port, "--host", host))
            assert said.endswith(f"Port {port} is taken: choose another with --port.")
    for host in ("192.0.2.1", "no.invalid"):  # no computer has these (RFC 5737, RFC 2606)
        said = one_line_error(run("app.py", "--port", port, "--host", host))
        assert said.endswith(f"This computer has no address {host}: name another with --host.")


# ---- visitors who mean harm, and many at once ----


@pytest.fixture
def guest(address: str) -> Iterator[crowd.Guest]:
    one = crowd.Guest(address)
    yield one
    one.leave()


@needs_gradio
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("", {}, 200),
        ("config", {"Host": "localhost:1234"}, 200),
        ("config", {"Host": "[::1]"}, 200),
        ("config", {"Host": "evil.example"}, 403),
        ("config", {"Host": "127.0.0.1.evil.example:7860"}, 403),
        ("config", {"Host": "127.0.0.1@evil.example"}, 403),
        ("config", {"Host": "192.168.1.7"}, 403),
        ("config", {"Host": "[::1"}, 403),
        ("config", {"Host": ""}, 403),
        ("config", {"Origin": "http://evil.example"}, 403),
        ("config", {"Origin": "http://localhost:3000"}, 403),
        ("config", {"Origin": "null"}, 403),
        ("gradio_api/proxy=https://evil.hf.space", {}, 404),
        ("gradio_api/file=https://example.org/", {}, 404),
        ("gradio_api/file=/etc/passwd", {}, 404),
        ("gradio_api/file={folder}/..%2f..%2f..%2f..%2f..%2fetc/passwd", {}, 403),
        ("gradio_api/vibe-code/", {}, 404),
        ("monitoring", {}, 404),
    ],
)
def test_the_page_answers_only_to_itself_under_its_own_name(guest, served, path: str, headers: dict, status: int):
    (folder,) = served[1].glob("music-*")
    assert guest.http.get(path.format(folder=folder), headers=headers).status_code == status


@needs_gradio
def test_only_its_own_origin_may_post_and_nothing_large_or_endless(guest: crowd.Guest):
    host = guest.http.base_url.netloc.decode()
    cancel = {"session_hash": guest.hash, "fn_index": 0, "event_id": "x"}
    own, foreign = ({"Origin": f"http://{name}"} for name in (host, "evil.example"))
    statuses = [guest.http.post("gradio_api/cancel", json=cancel, headers=h).status_code for h in (own, foreign)]
    assert statuses == [200, 403]
    assert guest.http.post("gradio_api/queue/join", content=b" " * 3 * 2**20).status_code == 413
    assert guest.http.post("gradio_api/queue/join", content=iter([b"{}"])).status_code == 413
    assert guest.http.post("gradio_api/run/predict", json={}).status_code == 404


@needs_gradio
def test_on_a_network_it_answers_to_addresses_and_the_given_names(tmp_path: Path):
    from utils.output.door import Door

    args = settings.parse(ROOT / "app.py", ["--host", "0.0.0.0", "--names", "Music.example.org, other"])
    door = Door(None, args, Visitors(tmp_path, 0, print))
    for host in ("192.168.1.7:7860", "[fe80::1]:7860", "localhost", "music.example.org", "OTHER:80"):
        assert door.knows(host), host
    assert not door.knows("evil.example") and not door.knows("1.2.3")


@needs_gradio
@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("Seed", "9" * 4000),
        ("Seed", 7),
        ("Tempo", "fast"),
        ("Tempo", math.nan),
        ("New notes", math.inf),
        pytest.param("New notes", 10**400, id="huge"),
        ("New notes", True),
        ("Pieces", [1]),
        ("Weights", ["tiny"]),
        ("Weights", {"path": "https://example.org/a.mid", "meta": {"_type": "gradio.FileData"}}),
        ("Key", "D" * 10**5),
        ("Parts", [["Flute"]]),
        ("What to write", {}),
        ("No note outside the key", "yes"),
        ("MIDI file", "/etc/passwd"),
        ("MIDI file", {"path": "https://example.org/a.mid", "meta": {"_type": "gradio.FileData"}}),
        *(
            ("MIDI file", {"path": str(path), "meta": {"_type": "gradio.FileData"}})
            for path in ("/etc/passwd", "app.py", "../app.py", ROOT / "samples" / "prior.mid", checkpoint.BUNDLED)
        ),
        ("MIDI file", {"a": {"path": "https://example.org/a.mid", "meta": {"_type": "gradio.FileData"}}}),
    ],
)
def test_values_that_the_page_could_not_send_are_refused(guest: crowd.Guest, label: str, value: object):
    guest.set(**{label: value})
    asked = ("MIDI file", "change") if label == "MIDI file" else ("generate", "click")
    (*_, last) = guest.ask(*asked)
    assert last["output"]["error"] == "The page could not have sent this: reload it."


@needs_gradio
def test_every_bad_upload_is_refused(guest: crowd.Guest):
    for name, data in crowd.bad_files(7):
        (*_, last) = guest.upload(name, data)
        assert last.get("refused") == 413 or " cannot be used: " in str(last["output"]["data"]), name
        assert "music-" not in str(last.get("output", {}).get("data", [])[1:]) and "<img" not in str(last), name


@needs_gradio
def test_many_visitors_get_their_files_and_leave_none(served: tuple[str, Path]):
    address, folder = served
    guests = [crowd.Guest(address) for _ in range(3)]
    for guest in guests:
        guest.set(New_notes=20)
    shown = crowd.all_generate(guests)[0]
    assert all(shown) and sum(map(len, shown)) == len(set().union(*shown))
    sounds = {file for files in shown for file in files if file.endswith(".wav")}
    assert {str(path) for path in folder.rglob("*.wav")} == sounds and len(sounds) == 3  # one each
    for guest in guests:
        guest.set(New_notes=500, Pieces=4)
        guest.join("generate", "click")
        guest.leave()
    last = crowd.Guest(address)
    shown = set(crowd.files_of(last.ask("generate", "click")))
    wait_for(lambda: {str(path) for path in folder.rglob("*.wav")} <= shown, "the files of those who left to go")
    last.leave()


@needs_gradio
@pytest.mark.parametrize(("notes", "expected"), [(None, 10), (12.4, 12)])
def test_an_empty_box_of_a_slider_is_its_least_and_fractions_are_rounded(guest: crowd.Guest, notes, expected: int):
    guest.set(**{"New notes": notes})
    assert f"\\n{expected} notes, " in str(guest.ask("generate", "click"))


@needs_gradio
def test_no_music_is_made_for_a_visitor_who_has_left(tmp_path: Path, weights: Path):
    visitor = Visitors(tmp_path, 0, print).arrive("me")
    assert filled(weights, visitor.stays, notes=20).made
    visitor.seen -= 2 * PATIENCE
    with pytest.raises(Left):
        filled(weights, visitor.stays, notes=20)
    visitor.connections = 1
    assert filled(weights, visitor.stays, notes=20).made


@needs_gradio
def test_visitors_who_left_are_forgotten_with_all_their_files(tmp_path: Path):
    forgotten = []
    visitors = Visitors(tmp_path, 60, forgotten.append)
    one, other = visitors.arrive("one"), visitors.arrive("other")
    for each in (one, other):
        each.upload = tmp_path / "hash" / "same.mid"
        each.new_fragment().parent.mkdir(parents=True)
    one.upload.parent.mkdir()
    unclaimed, just_sent = tmp_path / "old", tmp_path / "new"
    for path in (unclaimed, just_sent):
        path.touch()
    old = time.time() - 2 * UNCLAIMED
    for path in (unclaimed, one.upload.parent, one.folder):
        os.utime(path, (old, old))
    visitors.sweep()
    assert set(tmp_path.iterdir()) == {one.folder, other.folder, one.upload.parent, just_sent} and not forgotten
    one.seen -= 61
    with visitors.connected("other"):
        other.seen -= 61
        visitors.sweep()
    assert forgotten == ["one"] and not one.folder.exists() and other.folder.exists() and other.upload.parent.exists()
    with pytest.raises(Exception, match="reload the page"):
        visitors["one"]


@needs_gradio
def test_a_piece_that_is_too_long_gets_no_sound_and_is_no_fragment(tmp_path: Path):
    from utils.output import page

    one = page.Page(settings.parse(ROOT / "app.py", ["--minutes", "1"]), str(tmp_path))
    visitor, slow = one.visitors.arrive("me"), random_piece(1)
    slow.tempos, said, music = [(0, 12_000_000)], [], SimpleNamespace(how=Sampling(seed=7), before=None)
    written = one.write(visitor, SimpleNamespace(piece=slow, key=""), "tiny", music, said.append)
    assert said == ["tiny-seed-7-001 lasts 6:24 minutes, more than the limit of 1: it has no sound."]
    assert {path.suffix for path in visitor.folder.iterdir()} == {".mid", ".png", ".musicxml"}
    visitor.clear()
    assert list(visitor.folder.iterdir()) == [written]  # so that no other piece gets its name
    visitor.prior = slow
    asked = {one.session: "me", one.start: 0, one.length: len(slow), one.source: "mine"}
    assert "lasts 6:24 minutes" in one.trim(asked)[one.trouble]
    with pytest.raises(Exception, match="; at most 50 are allowed here"):
        order.Order(tmp_path, slow, most=10)


@needs_gradio
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("--tempo is 2000", "“Tempo” is 2000"),
        ("name that with --key or --scale.", "name that with “Key”."),
        ("--key-lock keeps", "“No note outside the key” keeps"),
        ("lower --prior-start.", "lower “From”."),
        ("--parts says: name these with --keep.", "“Parts” says: name these with “Parts to keep”."),
        ("an unknown --flag", "an unknown --flag"),
        ("{folder}/a/x.mid cannot be written", "a&#47;x&#46;mid cannot be written"),
        ("<b>*a* ![x](y) `$z$`", "&#60;b&#62;&#42;a&#42; &#33;&#91;x&#93;&#40;y&#41; &#96;&#36;z&#36;&#96;"),
    ],
)
def test_messages_use_the_labels_on_the_page_in_place_of_flags(tmp_path: Path, said: str, shown: str):
    from utils.output import page

    one = page.Page(settings.parse(ROOT / "app.py", []), str(tmp_path))
    assert one.said(said.format(folder=tmp_path)) == shown
    assert words.plain("a-b, c: 'd'.") == "a-b, c: 'd'."
