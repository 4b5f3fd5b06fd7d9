"""What was sent to the service, how often, and how long it took."""

import threading
from array import array
from collections import Counter
from typing import Any

import numpy as np

__all__ = ["Traffic"]


class Traffic:
    """Counts of one slice. Used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = array("f")
        self._sent = self._received = 0
        self._failures: Counter[str] = Counter()
        self._protocols: set[str] = set()

    def answered(self, *, seconds: float, sent: int, received: int, protocol: str) -> None:
        """A request was answered with predictions."""
        with self._lock:
            self._seconds.append(seconds)
            self._sent += sent
            self._received += received
            self._protocols.add(protocol)

    def failed(self, why: str, *, sent: int) -> None:
        """A try got no predictions, and is made again."""
        with self._lock:
            self._failures[why] += 1
            self._sent += sent

    def facts(self) -> dict[str, Any]:
        """Names and numbers, as a materialization shows them; times in seconds."""
        with self._lock:
            shown: dict[str, Any] = {
                "requests": len(self._seconds),
                "retries": sum(self._failures.values()),
                "bytes_sent": self._sent,
                "bytes_received": self._received,
            }
            if self._failures:
                shown["retried_after"] = ", ".join(f"{why}: {count}" for why, count in self._failures.most_common(5))
            if self._protocols:
                shown["protocol"] = ", ".join(sorted(self._protocols))
            if self._seconds:
                values = np.frombuffer(self._seconds, dtype=np.float32)
                for name, share in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
                    shown[f"latency_{name}_seconds"] = round(float(np.percentile(values, share)), 4)
        return shown
