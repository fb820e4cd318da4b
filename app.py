"""Make music on a web page.

python app.py                          for this computer only
python app.py --host 0.0.0.0           for everybody on the local network
"""

import errno
import importlib.util
import os
import signal
import socket
import sys
import tempfile
import threading

from utils import settings
from utils.errors import UserError

# ---- the page
HOST: str = "127.0.0.1"  # address to listen on: 127.0.0.1 serves this computer only, 0.0.0.0 the whole local network
PORT: int = 7860  # port to listen on
NAMES: str = ""  # other host names of the page, such as music.example.org, separated by commas
BROWSER: bool = True  # open the page in the browser
# ---- what it offers
WEIGHTS_DIR: str = "weights"  # folder of the weights files to choose from
PRIOR_DIR: str = "samples"  # folder of the fragments to choose from: MIDI files whose names begin with prior
SOUNDFONT: str = ""  # .sf2 or .sf3 file that plays the sound ('': the one that comes with pretty_midi)
# ---- how much a visitor may ask for
UPLOAD: float = 2.0  # size of an uploaded MIDI file, in megabytes
NOTES: int = 2000  # new notes in a piece, and notes in a fragment of which parts are kept or bars are written anew
BARS: int = 64  # new bars in a piece
COUNT: int = 4  # pieces at once
MINUTES: float = 10.0  # minutes of sound for a piece or a fragment
AWAY: float = 10.0  # minutes for which the music of a visitor who has left is kept


def check_address(host: str, port: int) -> None:
    """Raises UserError if the page cannot be opened at a host and port."""
    for address in (host.strip("[]"), "127.0.0.1"):  # Gradio always needs the port on 127.0.0.1, too
        try:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            socket.create_server((address, port), family=family).close()
        except OSError as error:
            reason = f"The page cannot be opened at {address}:{port}: {error}"
            if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN):  # the last: no network
                reason = f"This computer has no address {address}: name another with --host."
            if error.errno == errno.EADDRINUSE:
                reason = f"Port {port} is taken: choose another with --port."
            raise UserError(reason) from None


def main(args) -> None:
    least = {"port": 1, "upload": 0.001, "notes": 20, "bars": 2, "count": 1, "minutes": 0.1, "away": 0}
    for name, number in least.items():
        settings.at_least(name, getattr(args, name), number)
    settings.at_most("port", args.port, 65_535)
    if importlib.util.find_spec("gradio") is None:
        raise UserError("The page needs Gradio: pip install -r requirements-app.txt")
    check_address(args.host, args.port)
    # On SIGTERM, too, leave through the `with` below, so that what visitors made is deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="music-", ignore_cleanup_errors=True) as folder:
        # Gradio reads these on import: send no analytics, and serve files from a folder of this run.
        os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder)
        from starlette.middleware import Middleware

        from utils.output import looks, page
        from utils.output.door import Door

        music_page = page.Page(args, folder)
        threading.Thread(target=music_page.visitors.sweep_always, daemon=True).start()
        blocks = music_page.blocks.queue(max_size=page.QUEUE)
        blocks.launch(
            app_kwargs={"middleware": [Middleware(Door, args, music_page.visitors)]},
            server_name=args.host,
            server_port=args.port,
            inbrowser=args.browser,
            max_file_size=round(args.upload * 2**20),
            theme=looks.THEME,
            css=looks.CSS,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            **dict.fromkeys(("share", "run_history", "enable_monitoring", "ssr_mode"), False),
        )
        print(f"The page is at {blocks.local_url}; press Ctrl-C to stop it.")
        blocks.block_thread()


if __name__ == "__main__":
    settings.run(main, __file__)
