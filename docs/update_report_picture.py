"""Draw docs/images/report.png, the report page of the demo: python docs/update_report_picture.py (needs chromium)."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "images" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1000, 1250
COLORS = 64


def main() -> int:
    """Run the demo and take a picture of the top of its page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no browser: install one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run(  # noqa: S603
            [sys.executable, "-m", "hf_core_bpb", "--output", str(folder / "demo"), "--quiet"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        subprocess.run(  # noqa: S603
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={folder / 'browser'}",
                f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={folder / 'page.png'}",
                (folder / "demo" / "report.html").as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        PICTURE.parent.mkdir(exist_ok=True)
        with Image.open(folder / "page.png") as page:
            page.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
