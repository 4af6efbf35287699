"""Start pages' kernels through kernel_server.py, in which what pages import is imported once for all of them."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Lock

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "forked-provisioner"


class _Server:
    """The process that forks kernels; it starts with the first of them."""

    def __init__(self, modules: Iterable[str]):
        self.modules, self.process = modules, None
        self.lock = Lock()   # pages run in threads

    def ask(self, **request):
        with self.lock:
            if self.process is None:
                command = [sys.executable, Path(__file__).with_name("kernel_server.py"), *self.modules]
                self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                encoding="utf-8", start_new_session=True)
            try:
                print(json.dumps(request), file=self.process.stdin, flush=True)
                answer = self.process.stdout.readline()
            except BrokenPipeError:
                answer = ""
        if not answer:
            raise RuntimeError(f"the process that starts kernels has died (exit code {self.process.wait()})")
        return json.loads(answer)

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()


class _Kernel:
    """As much of `subprocess.Popen` as a provisioner uses."""
    stdin = stdout = stderr = None

    def __init__(self, server: _Server, arguments: list[str], env: dict[str, str], cwd: str):
        self.server = server
        self.pid = server.ask(start=arguments, env=env, cwd=cwd)

    def poll(self) -> int | None:
        try:
            return self.server.ask(poll=self.pid)
        except RuntimeError:
            return -signal.SIGKILL   # kernels do not outlive the server

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.05)
        return code

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Provisioner(LocalProvisioner):
    """Forks IPython's kernel of this Python from the server, and starts any other as usual."""
    server: _Server

    async def launch_kernel(self, cmd: list[str], **options):
        if cmd[:3] != [sys.executable, "-m", "ipykernel_launcher"]:
            return await super().launch_kernel(cmd, **options)
        self.process = _Kernel(self.server, cmd[3:], options["env"], options["cwd"])
        self.pid = self.pgid = self.process.pid
        self.cwd = options["cwd"]
        return self.connection_info


@contextlib.contextmanager
def preloaded(modules: Iterable[str]) -> Iterator[None]:
    """Inside, kernels are forked from a process that has imported `modules`; at the end they are killed."""
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:{Provisioner.__name__}", factory.GROUP_NAME)
    before, factory.default_provisioner_name = factory.default_provisioner_name, NAME
    Provisioner.server = _Server(modules)
    try:
        yield
    finally:
        Provisioner.server.close()
        factory.default_provisioner_name = before
