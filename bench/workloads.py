"""The workloads: what is opened, what is published, which number counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the load generator. Seconds as float; ``rate`` is messages per second of all devices."""

    name: str
    about: str
    sockets: int
    devices: int = 1
    watch: int = 1
    rate: float = 0.0
    burst: int = 1
    stalled: int = 0
    padding: int = 60
    settle: float = 1.0
    warm: float = 1.0
    seconds: float = 3.0
    tls: bool = False
    """Opened over TLS, by ``opener.py``, since the load generator speaks plain TCP only. Then nothing is published."""

    def arguments(self) -> list[str]:
        """The options of the load generator."""
        return [
            *("--sockets", str(self.sockets), "--stalled", str(self.stalled)),
            *("--devices", str(self.devices), "--watch", str(self.watch)),
            *("--rate", f"{self.rate:g}", "--burst", str(self.burst), "--padding", str(self.padding)),
            *("--settle", f"{self.settle:g}", "--warm", f"{self.warm:g}", "--seconds", f"{self.seconds:g}"),
        ]


def _slow(name: str, about: str, stalled: int) -> Case:
    """200 devices and 2 KB, so that a stalled socket fills the kernel's buffers and then its queue within seconds."""
    return Case(name, about, 1000, 200, 200, rate=40, stalled=stalled, padding=2000, warm=4)


WORKLOADS: Final[dict[str, tuple[Case, ...]]] = {
    "W1": (Case("W1", "fan-out: 1 device at 20 msg/s, 1,000 sockets", 1000, rate=20),),
    "W2": (
        Case("W2", "dashboards: 200 devices at 4,000 msg/s, 50 sockets watch all", 50, 200, 200, rate=4000, burst=10),
    ),
    "W3": (
        Case(
            "W3", "sparse fleet: 1,000 devices at 4,000 msg/s, 1,000 sockets, each one", 1000, 1000, rate=4000, burst=10
        ),
    ),
    "W3-12k": (Case("W3-12k", "the same at 12,000 msg/s", 1000, 1000, rate=12_000, burst=10),),
    "idle": (Case("idle", "1,000 open sockets, one device each, no messages", 1000, 1000, settle=2, seconds=0.1),),
    "idle-tls": (Case("idle-tls", "the same over TLS", 1000, 1000, settle=2, seconds=0.1, tls=True),),
    "handshake": (Case("handshake", "2,000 sockets opened, 128 at a time, token verified", 2000, seconds=0.1),),
    "light": (Case("light", "light load: 100 devices at 1,000 msg/s, 100 sockets, each one", 100, 100, rate=1000),),
    "slow": (
        _slow("slow-0", "1,000 good sockets, 200 devices at 40 msg/s, 2 KB", 0),
        _slow("slow-200", "the same beside 200 sockets that never read", 200),
    ),
    "scale": (
        Case("scale-1k", "1,000 sockets, 1 device at 20 msg/s", 1000, rate=20, seconds=4),
        Case("scale-10k", "10,000 sockets, 1 device at 2 msg/s: as many deliveries", 10_000, rate=2, seconds=4),
    ),
}
