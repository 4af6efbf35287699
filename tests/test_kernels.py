"""Kernels that fork from one process, and what that process has imported."""
import asyncio
import signal
import sys
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME

sys.path.insert(0, str(ROOT / "book"))
import execute
import kernels


def ask(code):
    """Run `code` in a kernel of its own; -> what it prints."""
    async def go():
        manager = AsyncKernelManager(kernel_name=NATIVE_KERNEL_NAME, transport="ipc")
        await manager.start_kernel(cwd=str(ROOT), env={"PATH": "/", "MARK": "here"})
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=60)
            lines = []
            await client.execute_interactive(code, timeout=60, store_history=False, output_hook=lambda message: (
                lines.append(message["content"].get("text", ""))))
            return "".join(lines)
        finally:
            client.stop_channels()
            await manager.shutdown_kernel()
    return asyncio.run(go())


def test_kernels_share_what_was_imported_and_nothing_else():
    code = """import os, sys
print("colorsys" in sys.modules, "book" in sys.path[0], os.environ["MARK"], os.getcwd(), os.getppid(), "x" in vars())
x = "of this kernel"
import wave"""
    with kernels.preloaded(["colorsys", "no_such_module"]):
        first, second = ask(code), ask(code + "\nprint('wave' in sys.modules)")
        server = kernels.Provisioner.server.process
        assert first.split() == ["True", "False", "here", str(ROOT), str(server.pid), "False"]
        assert second.split() == [*first.split(), "True"]
        assert ask("import sys; print('wave' in sys.modules)").strip() == "False"
    assert server.returncode == 0


def test_nothing_starts_where_no_kernel_does():
    with kernels.preloaded(["colorsys"]):
        assert kernels.Provisioner.server.process is None


def test_the_exit_code_of_a_kernel_is_known():
    with kernels.preloaded([]):
        server = kernels.Provisioner.server
        ended = kernels._Kernel(server, ["--version"], {"PATH": "/"}, str(ROOT))
        assert (ended.wait(), ended.poll()) == (0, 0)
        killed = kernels._Kernel(server, [], {"PATH": "/"}, str(ROOT))
        killed.send_signal(signal.SIGKILL)
        assert (killed.wait(), killed.poll()) == (-9, -9)


def test_kernels_end_with_the_process_that_started_them(tmp_path):
    with kernels.preloaded([]):
        server = kernels.Provisioner.server
        kernel = kernels._Kernel(server, ["-f", str(tmp_path / "kernel.json")], {"PATH": "/"}, str(ROOT))
        running = psutil.Process(kernel.pid)
        assert kernel.poll() is None
    assert not running.is_running()


def test_kernels_die_with_the_server_and_none_starts_after_it():
    with kernels.preloaded([]):
        server = kernels.Provisioner.server
        kernel = kernels._Kernel(server, [], {"PATH": "/"}, str(ROOT))
        server.process.send_signal(signal.SIGKILL)
        assert kernel.wait() == -9
        with pytest.raises(RuntimeError, match=r"has died \(exit code -9\)"):
            kernels._Kernel(server, [], {"PATH": "/"}, str(ROOT))


@pytest.mark.parametrize("source, modules", [
    ("import a.b, c as d", ["a.b", "c"]),
    ("from a import b, c as d", ["a", "a.b", "a.c"]),
    ("from . import a", []),
    ("%matplotlib inline\ndef f():\n    import a", ["a"]),
])
def test_the_imports_of_a_cell_are_found(source, modules):
    assert execute.imports(source) == modules


def test_every_page_imports_modules_that_exist():
    """Else its kernel would import them itself, and nobody would notice but by the time it takes."""
    from importlib.util import find_spec

    import jupytext
    for page in sorted(Path(ROOT / "notebooks").glob("[0-9]*.py")):
        cells = [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "code"]
        names = [name for source in cells for name in execute.imports(source)]
        packages = [name for name in names if name.count(".") == 0]
        assert packages and all(map(find_spec, packages)), page
