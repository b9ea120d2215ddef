# SPDX-License-Identifier: GPL-2.0-or-later
"""A link as long as one likes.

Not a test: no TAP in here.
"""

import contextlib
import queue
import time

from interop.link import Link

CHUNK = 1 << 20


class Delay(Link):
    """Forwards connections; each byte arrives that many seconds after it was
    sent, however many are on their way."""

    def __init__(self, uri, seconds):
        self.seconds = seconds
        super().__init__(uri)

    def _forward(self, origin, target, *_):
        way = queue.SimpleQueue()
        self._start(self._arrive, way, origin, target)
        data = True
        while data:
            data = b''
            with contextlib.suppress(OSError):
                data = origin.recv(CHUNK)
            way.put((time.monotonic() + self.seconds, data))

    def _arrive(self, way, origin, target):
        try:
            while True:
                due, data = way.get()
                time.sleep(max(0, due - time.monotonic()))
                if not data:
                    break
                target.sendall(data)
            self._ended(origin, target)
        except OSError:
            self.sever(only=(origin, target))
