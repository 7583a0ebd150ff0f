"""A real SLURM of three nodes on this machine: its own key, ports, files and daemons.

The daemons are children of the tests and die with them, whatever ends those.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

COMMANDS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODES = ("n1", "n2", "n3")
PR_SET_PDEATHSIG = 1
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its credential has expired: 120 s, unless said otherwise.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core,CR_LLN
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
SwitchType=switch/none
KillWait=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldPort={controller}
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} {size}\n"
SIZE = "CPUs=64 RealMemory=600000 State=UNKNOWN"  # more than there is; nothing is constrained
PARTITION = "PartitionName=tests Nodes=ALL Default=YES MaxTime=2-00:00:00 State=UP\n"


def why_not() -> str:
    """Why there can be no SLURM here; empty if there can."""
    missing = [command for command in COMMANDS if _path(command) is None]
    if missing:
        return f"{missing[0]} is not installed (apt-get install slurmctld slurmd munge)"
    if os.geteuid() != 0:
        return "SLURM's daemons have to be started as root"
    return ""


class Cluster:
    """The daemons, from entering to leaving."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self._daemons = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands find the cluster by."""
        return {**os.environ, "SLURM_CONF": str(self.config)}

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException as error:
            self._daemons.close()
            logs = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
            said = "".join(f"\n{log.name}: {log.read_text()[-600:]}" for log in logs)
            raise RuntimeError(f"SLURM does not start: {error}{said}") from error
        return self

    def __exit__(self, *error: object) -> None:
        try:
            with suppress(subprocess.SubprocessError, AssertionError):
                self.ask("scancel", "--user=root")
                wait_until(lambda: not self.jobs(), 20)
        finally:
            self._daemons.close()
            for pid in self._processes():  # of jobs that would not end
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _processes(self) -> list[int]:
        """All that was started to work for this cluster."""
        sign = f"SLURM_CONF={self.config}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if sign in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return [pid for pid in found if pid != os.getpid()]

    def ask(self, *command: str) -> str:
        """Run one of SLURM's commands, and return what it prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--array", "--format=%i").split()

    def wait_for_all(self, seconds: float = 180) -> None:
        """Wait until no job waits or runs."""
        wait_until(lambda: not self.jobs(), seconds)

    def bring_up(self, node: str) -> None:
        """Let a node work again."""
        self.ask("scontrol", "update", f"nodename={node}", "state=resume")

    def _start(self) -> None:
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        controller, *ports = free_ports(1 + len(NODES))
        nodes = [
            NODE.format(name=name, host=host, port=port, size=SIZE)
            for name, port in zip(NODES, ports, strict=True)
        ]
        config = CONFIG.format(host=host, folder=self.folder, controller=controller)
        self.config.write_text(config + "".join(nodes) + PARTITION)
        self._start_munge()
        self._start_daemon("slurmctld", "-D", "-i")
        wait_until(lambda: self._answers("scontrol", "ping"))
        for node in NODES:
            self._start_daemon("slurmd", "-D", "-N", node)
        wait_until(
            lambda: self.ask("sinfo", "-h", "-N", "-t", "idle").count("\n") == len(NODES) - 1
        )

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        names = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={self.folder}/munge.{name}" for option, name in names.items()]
        self._start_daemon("munged", "--foreground", "--force", f"--key-file={key}", *files)
        wait_until(lambda: (self.folder / "munge.socket").exists())

    def _start_daemon(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}-{command[-1].strip('-')[:8]}.out").open("ab")
        path = _path(command[0]) or command[0]
        daemon = subprocess.Popen(
            [path, *command[1:]],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
        )
        self._daemons.callback(_stop, daemon)

    def _answers(self, *command: str) -> bool:
        with suppress(subprocess.SubprocessError):
            return "UP" in self.ask(*command)
        return False


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true, and fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _path(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.terminate()
    try:
        daemon.wait(15)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
