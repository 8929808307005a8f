"""Seventy arms that do what none should: no other's figure changes, and nothing is left over.

The sample has a few that `tests/harness/running/test_supervisor.py` does not have.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from in_process import InThisProcess, Quiet

from harness.experiments.experiment import read_experiment
from harness.running.cells import cell_digest, has_cell, read_cell
from harness.running.fill import fill, prepare
from harness.running.store_folder import open_store

ARMS = Path(__file__).parents[1] / "harness" / "arms_for_tests.py"
EXPERIMENT = """\
datasets = ["GOLD"]

[plan]
horizon = 5
stride = 5
origins = 40
history = 200
validation = 60

[run]
seeds = [1]
time_limit_s = 20
memory_limit_mib = 900

[[arms]]
name = "old"
use = "arms_for_tests:Flat"
role = "legacy"

[[arms]]
name = "new"
use = "arms_for_tests:Learner"
role = "candidate"

{arms}
[policy]
baseline = "old"
candidate = "new"

[[policy.criteria]]
metric = "crps"
margin = 0.05
"""
MODULE = """\
import atexit, builtins, ctypes, errno, gc, json, os, pickle, resource, select, shutil, signal
import socket, subprocess, sys, tempfile, threading, time, warnings
from pathlib import Path

import numpy as np

{on_import}
from arms_for_tests import Flat


def daemon(work=lambda: time.sleep(600)):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)


def mine(name):
    frame = sys._getframe()
    while "scratch" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["scratch"] / name


class Hostile(Flat):
    def forecast(self, contexts):
        {in_forecast}
        return Flat.forecast(self, contexts)
"""
ANSWERS, FAILS, SILENT = "answers", "fails", "no answer"
IN_FORECAST = {
    "daemon": ("daemon()", ANSWERS),
    "session": ("subprocess.Popen(['sleep', '600'], start_new_session=True)", ANSWERS),
    "child": ("subprocess.Popen(['sleep', '600'])", ANSWERS),
    "fork": ("os.fork() or time.sleep(600)", ANSWERS),
    "fork that answers": ("os.fork()", None),
    "thread": ("threading.Thread(target=time.sleep, args=(600,)).start()", ANSWERS),
    "many threads": (
        "[threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(200)]", ANSWERS),
    "timer": ("threading.Timer(1, os._exit, (0,)).start()", ANSWERS),
    "seterr": ("np.seterr(all='raise')", ANSWERS),
    "chdir": ("os.chdir('/')", ANSWERS),
    "umask": ("os.umask(0o777)", None),
    "atexit": ("atexit.register(time.sleep, 600)", ANSWERS),
    "excepthook": ("sys.excepthook = lambda *_: os._exit(0)", ANSWERS),
    "closes fds": ("os.closerange(3, 4096)", None),
    "closes outputs": ("os.close(1); os.close(2)", ANSWERS),
    "replaces stdout": ("sys.stdout = None", ANSWERS),
    "shouts": ("[os.write(1, b'x' * 65536) for _ in range(2000)]", ANSWERS),
    "shouts in the dark": ("os.write(2, bytes(range(256)) * 400)", ANSWERS),
    "exit 0": ("os._exit(0)", FAILS),
    "exit 75": ("os._exit(75)", SILENT),
    "quits": ("sys.exit(3)", FAILS),
    "interrupts": ("raise KeyboardInterrupt", None),
    "group exit": ("raise BaseExceptionGroup('x', [SystemExit(0)])", FAILS),
    "aborts": ("os.abort()", FAILS),
    "faults": ("ctypes.string_at(0)", FAILS),
    "divides": ("os.kill(os.getpid(), signal.SIGFPE)", FAILS),
    "kills itself": ("os.kill(os.getpid(), signal.SIGKILL)", SILENT),
    "terminates": ("os.kill(os.getpid(), signal.SIGTERM)", SILENT),
    "stops": ("os.kill(os.getpid(), signal.SIGSTOP)", FAILS),
    "stops its watcher": ("os.kill(os.getppid(), signal.SIGSTOP)", None),
    "stops the fork server": (
        "os.kill(int(open(f'/proc/{os.getppid()}/stat').read().split()[3]), signal.SIGSTOP)",
        ANSWERS),
    "kills its watcher": ("os.kill(os.getppid(), signal.SIGKILL)", SILENT),
    "daemon of a killed watcher": (
        "daemon(); os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)", SILENT),
    "ignores signals": (
        "[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 17, 19)]",
        ANSWERS),
    "alarm": ("signal.alarm(1); time.sleep(5)", SILENT),
    "sleeps": ("time.sleep(600)", FAILS),
    "spins": ("[None for _ in iter(int, 1)]", FAILS),
    "eats memory": ("held = [np.ones(10_000_000) for _ in range(40)]", FAILS),
    "children eat memory": (
        "[os.fork() or (np.ones(30_000_000).sum(), time.sleep(60)) for _ in range(9)]", None),
    "forks often": ("[os.fork() == 0 and (time.sleep(600), 1) for _ in range(60)]", None),
    "recursion": ("f = lambda: f(); f()", FAILS),
    "deep pickle": ("pickle.dumps = None; pickle.loads = None", ANSWERS),
    "patches numpy": ("np.save = np.array_equal = np.isfinite = lambda *_, **__: 1 / 0", None),
    "patches json": ("json.dumps = lambda *_, **__: '{}'", FAILS),
    "patches open": ("builtins.open = None", None),
    "patches exit": ("os._exit = lambda code: time.sleep(600)", None),
    "full disk": ("raise OSError(errno.ENOSPC, 'No space left on device')", SILENT),
    "broken disk behind": (
        "raise RuntimeError('cache') from OSError(errno.EIO, 'Input/output error')", SILENT),
    "no files": ("resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))", None),
    "no file size": ("resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))", None),
    "forged part": ("mine('0/part.json').write_text('{}'); os._exit(0)", FAILS),
    "forged fit": ("mine('0/fit.json').write_text('[' * 5000); os._exit(0)", SILENT),
    "forged forecasts": ("mine('0/part.json').mkdir()", None),
    "link in its place": ("mine('0/part.parquet').symlink_to('/etc/passwd')", None),
    "pipe in its place": ("os.mkfifo(mine('0/part.json')); os._exit(0)", FAILS),
    "no scratch": ("shutil.rmtree(mine(''))", None),
    "others' kept fits": (
        "[p.write_text('[9, 9]') for p in Path(tempfile.gettempdir()).glob('*/kept-*/*/*')]", None),
    "stops the run's log": ("mine('log.txt').unlink(); mine('log.txt').mkdir()", ANSWERS),
    "writes the context": ("contexts.target.flags.writeable = True; contexts.target[:] = 0", None),
    "other shape": ("return Flat.forecast(self, contexts).point", FAILS),
    "nothing": ("return None", FAILS),
    "message no file holds": ("raise OSError('\\udc80\\x1b[31m\\0' * 9)", FAILS),
    "long message": ("raise ValueError('x' * 10_000_000)", FAILS),
    "huge message": (
        "raise type('E', (Exception,), {'__str__': lambda s: 'x' * 100_000_000})()", FAILS),
    "error without text": ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", FAILS),
    "garbage": ("gc.disable(); gc.freeze(); warnings.simplefilter('error')", ANSWERS),
    "stdin": ("sys.stdin and os.close(0)", ANSWERS),
    "environment": ("os.environ.clear()", ANSWERS),
}  # fmt: skip
ON_IMPORT = {
    "import thread": "threading.Thread(target=time.sleep, args=(600,)).start()",
    "import daemon": "os.fork() or (os.setsid(), time.sleep(600))",
    "import atexit": "atexit.register(os._exit, 0)",
    "import seterr": "np.seterr(all='raise'); os.chdir('/'); os.umask(0o777)",
    "import scoring": "import harness.scoring.scores as s; s.score = lambda *_, **__: None",
    "import judging": "import harness.judging.verdict as v; v.conclude = None; os.environ.clear()",
    "import shouts": "[os.write(1, b'x' * 65536) for _ in range(200)]",
    "import hooks": "sys.setprofile(lambda *_: None); sys.setrecursionlimit(400)",
}


SAMPLE = ("stops the fork server", "forged part", "patches json", "import daemon", "import judging")


@pytest.fixture
def scratch(monkeypatch):
    """An empty folder for temporary files; its path leaves room for a socket."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def command(*words):
    line = [sys.executable, "-P", "-m", "harness", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=1500)


def write(arms):
    """The experiment with some hostile arms, each a module of its own."""
    tables = ""
    for number, (name, code) in enumerate(arms.items()):
        on_import = code if name in ON_IMPORT else ""
        in_forecast = "pass" if name in ON_IMPORT else code
        text = MODULE.format(on_import=on_import, in_forecast=in_forecast)
        Path(f"hostile_{number}.py").write_text(text, encoding="utf-8", errors="surrogatepass")
        tables += f'[[arms]]\nname = "{name}"\nuse = "hostile_{number}:Hostile"\n'
        tables += 'role = "reference"\n\n'
    Path("hostile.toml").write_text(EXPERIMENT.format(arms=tables), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="a subreaper is needed")
def test_hostile_arms_cost_only_themselves(sized, tmp_path, scratch, monkeypatch):
    """The pair's forecasts are those of a calm run; each arm ends as its deed says."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ARMS, "arms_for_tests.py")
    write({})
    grid, calm = prepare(read_experiment("hostile.toml"), []), open_store(Path("calm"))
    fill(grid, calm, workers=1, progress=Quiet(), executor=InThisProcess())
    every = {name: code for name, (code, _) in IN_FORECAST.items()} | ON_IMPORT
    write({name: every[name] for name in sized(SAMPLE, tuple(every))})
    before = {process.pid for process in psutil.process_iter()}

    done = command("run", "hostile.toml", "--store", "runs", "--workers", "2")

    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stdout + done.stderr.replace("said on import", "")
    store = open_store(Path("runs"), create=False)
    grid = prepare(read_experiment("hostile.toml"), [], store)
    pair = [cell for cell in grid.cells if cell.arm.name in ("old", "new")]
    assert [cell_digest(store, cell) for cell in pair] == [cell_digest(calm, c) for c in pair]
    ends = {cell.arm.name: ended(store, cell) for cell in grid.cells}
    wanted = {name: end for name, (_, end) in IN_FORECAST.items() if name in ends and end}
    assert {name: ends[name] for name in wanted} == wanted
    left = [p for p in psutil.process_iter() if p.pid not in before and works_in(p, scratch)]
    assert left == []
    assert list(scratch.glob("abharness-*")) == []
    assert command("store", "check", "--store", "runs").returncode == 0


def ended(store, cell):
    if not has_cell(store, cell):
        return SILENT
    return FAILS if any(read_cell(store, cell).reason) else ANSWERS


def works_in(process, scratch):
    try:
        return process.environ().get("TMPDIR") == str(scratch)
    except psutil.Error:
        return False
