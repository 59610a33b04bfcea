"""The machine: its description, the processors of a measured process, and the build of nplus1. Standard
library only."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


def distinct_cores():
    """Returns the processors that this process may use: one per physical core, and their siblings."""
    if not hasattr(os, "sched_getaffinity"):
        raise SystemExit("this system cannot pin processes (no sched_getaffinity); run the race on Linux")
    first, siblings, seen = [], [], set()
    for cpu in sorted(os.sched_getaffinity(0)):
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = path.read_text().strip() if path.exists() else str(cpu)
        (siblings if core in seen else first).append(cpu)
        seen.add(core)
    return first, siblings


def processors(count):
    """Returns `count` processors, on distinct cores as far as possible."""
    first, siblings = distinct_cores()
    available = first + siblings
    if count > len(available):
        raise SystemExit(f"{count} threads requested, but this process may use {len(available)} processors")
    return available[:count]


def pinned(command, cpus, environment=None, timeout=None):
    """Runs `command` only on `cpus`; returns the finished process with its output."""
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )


def environment(threads):
    """Returns environment variables that limit every library to `threads` threads."""
    variables = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        variables.pop(name, None)  # they would override the choice of NumPy's kernels
    for library in ("OMP", "MKL", "OPENBLAS"):
        variables[f"{library}_NUM_THREADS"] = str(threads)
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    else:
        variables.pop("XLA_FLAGS", None)  # its thread pool uses the processors that the process may use
    variables["JAX_PLATFORMS"] = "cpu"
    variables["CUDA_VISIBLE_DEVICES"] = ""
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    return variables


def description():
    """Returns the facts that a reader of the results needs, but not the name of the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    first, siblings = distinct_cores()
    return {
        "cpu": model,
        "cores": len(first),
        "processors": len(first) + len(siblings),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average_before": os.getloadavg()[0],
    }


def release_binary(given=None):
    """Returns the nplus1 to measure: the given one, or a fresh release build."""
    if given is not None:
        binary = Path(given).resolve()
        if not os.access(binary, os.X_OK):
            raise SystemExit(f"--binary {given}: not an executable file")
        return binary
    if shutil.which("cargo") is None:
        raise SystemExit("cargo is not on PATH; install Rust, or name a built program with --binary")
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=REPOSITORY, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return REPOSITORY / target / "release" / "nplus1"
