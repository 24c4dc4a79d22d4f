"""Hosts with networks of their own, on this machine: to see what a real network does to a program.

    python tests/hosts.py --workers 3 --rate 100mbit --delay 20ms --loss 0.1%
    python tests/hosts.py --at 1 cut worker1 --at 4 restore worker1 --at 5 reset trainer
    python tests/hosts.py --trainer 'python my_trainer.py' --worker 'python my_worker.py {trainer}'

Each host is a network namespace with an address of its own; a bridge in one more of them is the
switch. Bandwidth is `tc`'s; delay and loss are netem's where the kernel has it, otherwise those of
`delay_line.py`. All of it needs root and iproute2, and touches nothing outside of the namespaces.
What a killed script leaves behind, the next one removes.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# There are `ip`, `tc` and `nft`, but not on the path of a user of Debian's.
os.environ["PATH"] = ":".join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

__all__ = ["Hosts", "HostsError", "why_not"]

ROOT = Path(__file__).resolve().parents[1]

_MARK = "dataflow-bed"
_NAMES = re.compile(
    rf"{_MARK}-(\d+)-(\d+)-\w+-\S+"
)  # owner, when it began, which of its beds, host
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_MTU = 1500


class HostsError(Exception):
    """A command that should have made a network failed."""


def why_not() -> str | None:
    """Why there can be no hosts here; None where there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"{_MARK}-{_identity(os.getpid())}-{secrets.token_hex(2)}-try"
    try:
        _call("ip", "netns", "add", name)
        _call("ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "other")
    except FileNotFoundError:
        return "there is no `ip` (iproute2)"
    except HostsError as error:
        return str(error)
    finally:
        with suppress(HostsError, FileNotFoundError):
            _call("ip", "netns", "del", name)
    return None


class Hosts:
    """Some hosts at a switch.

    Args:
        names: of them, of at most 10 characters.
        rate: bandwidth of each link, in each direction, as `tc` writes it: ``"100mbit"``.
        delay: seconds that a frame takes from one host to another.
        loss: part of the frames that never arrive, 0 to 1.
        seed: decides which, where netem does not.

    Attributes:
        means: what makes bandwidth, delay and loss, for a person.

    Raises:
        HostsError: a part of it cannot be made; see `why_not`.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        rate: str | None = None,
        delay: float = 0.0,
        loss: float = 0.0,
        seed: int = 0,
    ) -> None:
        _sweep()
        self.names = list(names)
        self._token = f"{_MARK}-{_identity(os.getpid())}-{secrets.token_hex(2)}"
        self._switch = f"{self._token}-switch"
        self._processes: list[subprocess.Popen[Any]] = []
        self.means = [f"bandwidth {rate}: tc tbf"] if rate else []
        try:
            self._namespace(self._switch)
            self._in(self._switch, "link", "add", "name", "switch", "type", "bridge")
            self._in(self._switch, "link", "set", "switch", "up")
            netem = bool(delay or loss) and self._has_netem()
            if delay or loss:
                told = f"delay {delay * 1000:g} ms, loss {loss:.3%}: "
                self.means.append(told + ("netem" if netem else "delay_line.py (no netem here)"))
            for number, name in enumerate(self.names):
                self._namespace(self._of(name))
                if (delay or loss) and not netem:
                    self._stretch(name, delay / 2, 1 - (1 - loss) ** 0.5, seed + 2 * number)
                else:
                    self._plug_in(name)
                self._in(self._of(name), "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
                self._in(self._of(name), "link", "set", "eth0", "up")
                self._in(self._switch, "link", "set", name, "master", "switch", "up")
                for where, device in ((self._of(name), "eth0"), (self._switch, name)):
                    self._shape(where, device, rate, *((delay / 2, loss) if netem else (0, 0)))
        except BaseException:
            self.close()
            raise

    def address(self, name: str) -> str:
        """Where a host is."""
        return f"10.77.0.{self.names.index(name) + 1}"

    def start(self, name: str, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command on a host; it ends with this process, or thread, at the latest."""
        words = ["ip", "netns", "exec", self._of(name), *command]
        process = subprocess.Popen(words, preexec_fn=_die_with_parent, **options)
        self._processes.append(process)
        return process

    def run(self, name: str, *command: str) -> str:
        """What a command prints on a host."""
        return _call("ip", "netns", "exec", self._of(name), *command)

    def cut(self, name: str) -> None:
        """Nothing passes a host's link any more; nobody is told."""
        self._in(self._switch, "link", "set", name, "down")

    def restore(self, name: str) -> None:
        """It passes again."""
        self._in(self._switch, "link", "set", name, "up")

    def reset(self, name: str) -> int:
        """Reset all TCP connections of a host to others, and say how many they were."""
        return len(self.run(name, "ss", "-HKtn", "state", "connected").splitlines())

    def close(self) -> None:
        """End what runs on the hosts, and remove them. Idempotent."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._processes.clear()
        _remove([name for name in _namespaces() if name.startswith(f"{self._token}-")])

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _of(self, name: str) -> str:
        return f"{self._token}-{name}"

    def _in(self, namespace: str, *words: str) -> str:
        return _call("ip", "-n", namespace, *words)

    def _namespace(self, name: str) -> None:
        _call("ip", "netns", "add", name)
        self._in(name, "link", "set", "lo", "up")

    def _plug_in(self, name: str) -> None:
        peer = ("peer", "name", "eth0", "netns", self._of(name))
        self._in(self._switch, "link", "add", "name", name, "type", "veth", *peer)

    def _stretch(self, name: str, delay: float, loss: float, seed: int) -> None:
        """A link that another process carries."""
        options = ["--delay", str(delay), "--loss", str(loss), "--seed", str(seed)]
        program = [sys.executable, str(ROOT / "tests/delay_line.py"), name, "far", *options]
        line = self.start("switch", program, stdout=subprocess.PIPE, text=True)
        if line.stdout.readline() != "ready\n":
            raise HostsError(f"{shlex.join(program)} ended with status {line.wait()}")
        self._in(self._switch, "link", "set", "far", "netns", self._of(name), "name", "eth0")

    def _has_netem(self) -> bool:
        try:
            self._shape(self._switch, "switch", None, 0.001, 0.0)
        except HostsError:
            return False
        _call("tc", "-n", self._switch, "qdisc", "del", "dev", "switch", "root")
        return True

    def _shape(self, where: str, device: str, rate: str | None, delay: float, loss: float) -> None:
        place = ["root", "handle", "1:"]
        if delay or loss:
            times = ["delay", f"{delay * 1000:g}ms", "loss", f"{loss * 50:g}%", "limit", "100000"]
            _call("tc", "-n", where, "qdisc", "add", "dev", device, *place, "netem", *times)
            place = ["parent", "1:", "handle", "2:"]
        if rate is not None:
            bucket = ["rate", rate, "burst", "256kb", "latency", "100ms"]
            _call("tc", "-n", where, "qdisc", "add", "dev", device, *place, "tbf", *bucket)


def _call(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostsError(f"{shlex.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


def _identity(pid: int) -> str:
    """A process's number, and when it began: another one may get the number later."""
    with open(f"/proc/{pid}/stat") as file:
        return f"{pid}-{file.read().rpartition(')')[2].split()[19]}"


def _namespaces() -> list[str]:
    """Of all beds."""
    found = [line.split()[0] for line in _call("ip", "netns", "list").splitlines() if line]
    return [name for name in found if _NAMES.fullmatch(name)]


def _sweep() -> None:
    """Remove what those left behind who are no more."""
    dead = []
    for name in _namespaces():
        pid, began = _NAMES.fullmatch(name).groups()
        try:
            alive = _identity(int(pid)) == f"{pid}-{began}"
        except OSError:
            alive = False
        if not alive:
            dead.append(name)
    _remove(dead)


def _remove(namespaces: Sequence[str]) -> None:
    for name in namespaces:
        with suppress(HostsError):  # somebody else may sweep, too
            for pid in _call("ip", "netns", "pids", name).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _call("ip", "netns", "del", name)


# -- as a script ------------------------------------------------------------------------------


class Show:
    """Programs on hosts, and what they print.

    Args:
        hosts: where they run.
        programs: a command by the name of the host.
    """

    def __init__(self, hosts: Hosts, programs: dict[str, str]) -> None:
        self._hosts = hosts
        self._programs = programs
        self._begun = time.monotonic()
        self._threads: list[threading.Thread] = []
        self.running: dict[str, subprocess.Popen[str]] = {}
        for name in programs:
            self.start(name)

    def tell(self, name: str, text: str) -> None:
        print(f"{time.monotonic() - self._begun:6.2f} s  {name:8}  {text}", flush=True)

    def start(self, name: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = self._hosts.start(
            name,
            shlex.split(self._programs[name]),
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running[name] = process
        thread = threading.Thread(target=self._follow, args=(name, process), daemon=True)
        self._threads.append(thread)
        thread.start()

    def happen(self, event: str, name: str) -> None:
        """``cut``, ``restore``, ``reset``, ``kill`` or ``start``."""
        self.tell(name, f"-- {event}")
        if event == "kill":
            self.running[name].kill()
        elif event == "start":
            self.start(name)
        else:
            getattr(self._hosts, event)(name)

    def join(self) -> int:
        """Wait for the trainer's end, and a while for the others'; returns its status."""
        status = self.running["trainer"].wait()
        deadline = time.monotonic() + 2
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
        for thread in self._threads:
            thread.join()
        return status

    def _follow(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.tell(name, line.rstrip())
        self.tell(name, f"-- ended with status {process.wait()}")


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) / (1000 if unit == "ms" else 1)


def _part(text: str) -> float:
    return float(text.removesuffix("%")) / 100


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="In commands, {trainer} is the trainer's address, {keys} a folder of keys, "
        "{workers} the number of workers and {name} the host's name.",
    )
    examples = ROOT / "examples/distributed"
    python = f"env PYTHONPATH={shlex.quote(f'{ROOT}:{examples}')} {shlex.quote(sys.executable)}"
    address = "tcp://{trainer}:5555 --keys {keys}"
    trainer = f"{python} -m pooled {address} --epochs 20"
    worker = f"{python} -m dataflow worker pooled:flow {address} --procs 1"
    parser.add_argument("--workers", type=int, default=3, help="how many (3)")
    parser.add_argument("--rate", help="bandwidth of each link, such as 100mbit")
    parser.add_argument("--delay", type=_seconds, default=0.0, help="between hosts, such as 20ms")
    parser.add_argument("--loss", type=_part, default=0.0, help="such as 0.1%%")
    parser.add_argument("--seed", type=int, default=0, help="of the loss")
    parser.add_argument("--trainer", default=trainer, help="command there (the example's)")
    parser.add_argument("--worker", default=worker, help="command on each worker (the example's)")
    parser.add_argument(
        "--at",
        nargs=3,
        action="append",
        default=[],
        metavar=("SECONDS", "EVENT", "HOST"),
        help="cut, restore, reset, kill or start; may be given again",
    )
    args = parser.parse_args()
    if (reason := why_not()) is not None:
        parser.error(reason)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))

    workers = [f"worker{number}" for number in range(1, args.workers + 1)]
    quality = {"rate": args.rate, "delay": args.delay, "loss": args.loss, "seed": args.seed}
    with (
        tempfile.TemporaryDirectory() as folder,
        Hosts(["trainer", *workers], **quality) as hosts,
    ):
        sys.path.insert(0, str(ROOT))
        from dataflow.transport.keys import make_keys

        make_keys(Path(folder) / "keys")
        print("; ".join(hosts.means) or "links as fast as they are", flush=True)
        words = {
            "trainer": hosts.address("trainer"),
            "keys": f"{folder}/keys",
            "workers": args.workers,
        }
        programs = {"trainer": args.trainer, **dict.fromkeys(workers, args.worker)}
        show = Show(hosts, {n: text.format(name=n, **words) for n, text in programs.items()})
        begun = time.monotonic()
        for seconds, event, name in sorted(args.at, key=lambda one: float(one[0])):
            with suppress(subprocess.TimeoutExpired):
                show.running["trainer"].wait(max(0.0, begun + float(seconds) - time.monotonic()))
                if event != "start" or name != "trainer":
                    break
            show.happen(event, name)
        return show.join()


if __name__ == "__main__":
    sys.exit(main())
