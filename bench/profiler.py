"""Looks into the bridge while a case runs: py-spy or perf."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.brokers import find_program
from bench.errors import BenchError
from bench.workloads import Case
from tests.environment import environment

OPENING_SECONDS: Final = 0.5
"""Allowed for the handshakes, so that the profile starts with the load."""
ATTACH_SECONDS: Final = 1.0
"""Allowed for the tool to find its process, before the first handshake."""
HANDSHAKES_SECONDS: Final = 5
"""Length of a profile without messages."""
SAMPLES_PER_SECOND: Final = 500
FORMATS: Final = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}


@dataclass(frozen=True, slots=True)
class Profiler:
    """Which tool (``py-spy`` or ``perf``) writes which file."""

    tool: str
    output: Path

    def check(self) -> None:
        """BenchError when the tool is missing or the file's ending says no format."""
        if self.tool == "perf":
            if shutil.which("perf") is None:
                raise BenchError("perf is not installed: apt-get install linux-perf")
            return
        find_program("py-spy", "pip install py-spy")
        if self.output.suffix not in FORMATS:
            raise BenchError(f"--py-spy takes a file that ends in {', '.join(FORMATS)}")

    def _command(self, pid: int, seconds: int) -> list[str]:
        if self.tool == "perf":
            record = ["perf", "record", "-g", "-F", str(SAMPLES_PER_SECOND), "-o", str(self.output), "-p", str(pid)]
            return [*record, "--", "sleep", str(seconds)]
        record = [find_program("py-spy", "pip install py-spy"), "record", "--native", "--threads"]
        where = ["-f", FORMATS[self.output.suffix], "-o", str(self.output), "-p", str(pid)]
        return [*record, "-r", str(SAMPLES_PER_SECOND), "-d", str(seconds), *where]

    def start(self, pid: int, case: Case) -> subprocess.Popen[str]:
        """Starts to record. A case without messages is about the handshakes: then call it before the load."""
        seconds = HANDSHAKES_SECONDS if case.rate == 0 else max(1, round(case.warm + case.seconds))
        if case.rate > 0:
            time.sleep(OPENING_SECONDS + case.settle)
        process = subprocess.Popen(
            self._command(pid, seconds), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        if case.rate == 0:
            time.sleep(ATTACH_SECONDS)
        return process

    def finish(self, process: subprocess.Popen[str]) -> None:
        """Waits for the end of the recording. BenchError when there is none."""
        _, errors = process.communicate()
        if process.returncode != 0 or not self.output.exists():
            raise BenchError(f"{self.tool} failed (it must run as root): {errors.strip()[-500:]}")
