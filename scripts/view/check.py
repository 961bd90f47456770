"""Tests the live page of `rekindle view` in headless Chromium.

    python scripts/view/check.py [target/debug/rekindle]

Trains while the page is open, and checks that curves appear and grow, that hostile names of runs are shown as text and run no
code, that NaN and broken lines do no harm, that runs of several seeds are one band, and that videos are listed. Needs
Chromium; CHROMIUM names another program. Only Python's standard library is used.
"""

import html
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# A GIF of one black pixel.
PICTURE = bytes.fromhex("47494638396101000100800000000000ffffff2c00000000010001000002024401003b")
HOSTILE = "<img src=x onerror=document.title='harmed'>"


def chromium():
    for name in [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]:
        if name and shutil.which(name):
            return shutil.which(name)
    raise SystemExit("no Chromium; install it, or name it in CHROMIUM")


def page(browser, address, width=1200):
    """The page after six seconds of its own time, in which it asks for data several times."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            f"--window-size={width},900",
            "--virtual-time-budget=6000",
            "--dump-dom",
            address,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def points(dom):
    """Number of points of all curves."""
    paths = re.findall(r'<(?:path|polyline)[^>]* (?:d|points)="([^"]*)"', dom)
    return sum(len(re.findall(r"[-\d.]+[ ,][-\d.]+", path)) for path in paths)


def write_run(folder, metrics, seed=0, lr=1e-3):
    (folder / "checkpoints").mkdir(parents=True)
    config = f'algorithm = "PPO"\n[environment]\nenv = "CartPole-v1"\n[debugging]\nseed = {seed}\n[training]\nlr = {lr}\n'
    (folder / "config.toml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in metrics))


def line(step, value):
    return (
        f'{{"env_runners/num_env_steps_sampled_lifetime":{step},"training_iteration":{step},'
        f'"env_runners/episode_return_mean":{value}}}'
    )


def check(condition, what, dom):
    if not condition:
        pathlib.Path("view-check.html").write_text(dom)
        raise SystemExit(f"failed: {what}; the page is in view-check.html")
    print(f"ok: {what}")


def main():
    program = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/debug/rekindle")
    browser = chromium()
    with tempfile.TemporaryDirectory() as folder:
        runs = pathlib.Path(folder) / "runs"
        write_run(runs / HOSTILE, [line(1, 1), line(2, "NaN"), "\0", line(3, "null"), line(4, 2)], lr=0.5)
        for seed in (1, 2):
            write_run(runs / f"seed{seed}", [line(step, step * seed) for step in range(1, 20)], seed)
        (runs / "seed1" / "videos").mkdir()
        (runs / "seed1" / "videos" / "episode.gif").write_bytes(PICTURE)
        view = subprocess.Popen([program, "view", str(runs), "--port", "0"], stdout=subprocess.PIPE, text=True)
        train = None
        try:
            address = view.stdout.readline().strip()
            dom = page(browser, address)
            check(html.escape(HOSTILE, quote=False) in dom, "a hostile name is shown as text", dom)
            check("<title>harmed" not in dom, "a hostile name runs no code", dom)
            check(points(dom) > 20, "curves are drawn, in spite of NaN and a broken line", dom)
            check("2 seeds" in dom, "two seeds are one curve", dom)
            check("seed1: 1 video<" in dom, "videos are listed", dom)
            settings = ["--set=training.train_batch_size=200", "--set=training.minibatch_size=none"]
            command = [program, "train", "ppo", "CartPole-v1", "--runs", str(runs), "--seed=3", *settings]
            train = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            counts = [points(page(browser, address)) for _ in range(3)]
            narrow = page(browser, address, width=360)
            check("CartPole-v1__3__" in narrow, "a run that trains appears", narrow)
            check(counts[-1] > points(dom), f"its curve grows while it trains: {counts}", narrow)
        finally:
            for process in (train, view):
                if process:
                    process.terminate()
                    process.wait()


if __name__ == "__main__":
    main()
