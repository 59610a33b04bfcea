"""Prepares the virtual environment of the peers and runs their processes. Standard library only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import machine
from commandline import say


def prepared():
    """Returns the interpreter of the peers' environment; creates or updates it if necessary."""
    folder = Path(os.environ.get("PEERS_VENV", machine.REPOSITORY / ".venv")).resolve()
    python = folder / "bin" / "python"
    wanted = (machine.HERE / "requirements.txt").read_text()
    installed = folder / "peers-requirements.txt"
    if installed.exists() and installed.read_text() == wanted:
        return python
    if sys.version_info < (3, 11):
        raise SystemExit(f"the peers need Python 3.11 or newer; this is {sys.version.split()[0]}")
    if not python.exists():
        say(f"creating {folder}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    say(f"installing the peers into {folder} (several GB the first time)")
    pip = [python, "-m", "pip", "install", "--quiet", "-r", machine.HERE / "requirements.txt"]
    subprocess.run(pip, check=True)
    installed.write_text(wanted)
    return python


def line_of(python, script, options, threads, timeout):
    """Runs `script` with `options` ({name: value}) on `threads` cores; returns the JSON it prints."""
    command = [python, machine.HERE / script, "--threads", threads]
    for name, value in options.items():
        command += [f"--{name}", value]
    cpus = machine.processors(threads)
    finished = machine.pinned(command, cpus, machine.environment(threads), timeout)
    if finished.returncode != 0:
        raise RuntimeError(f"exit code {finished.returncode}: {finished.stderr.strip()[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])
