# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy between a source and a destination, which damages what goes by.

Not a test: no TAP in here.
"""

import contextlib
import socket
import threading

CHUNK = 64 << 10


def flip(data, at):
    """Turns one bit."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


def drop(data, at):
    """Takes one byte out."""
    return data[:at] + data[at + 1:]


def cut(_data, _at):
    """Ends the connection."""
    return None


class Proxy:
    """Forwards one connection to uri, and calls damage(data, at) once, with
    the data in which the byte at that position of the stream is.

    backwards   damages what the destination says, not what the source sends
    """

    def __init__(self, uri, damage, position, backwards=False):
        _, host, port = uri.split(':')
        self.target = host, int(port)
        self.damage, self.position = damage, position
        self.backwards = backwards
        self.done = threading.Event()
        self.links = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.uri = f'tcp:127.0.0.1:{self.listener.getsockname()[1]}'
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            source, _ = self.listener.accept()
            self.links.append(source)
            destination = socket.create_connection(self.target)
            self.links.append(destination)
            back = threading.Thread(
                target=self._forward, daemon=True,
                args=(destination, source, self.backwards))
            back.start()
            self._forward(source, destination, not self.backwards)
            back.join()

    def _forward(self, origin, target, damaging):
        seen = 0
        try:
            while data := origin.recv(CHUNK):
                at = self.position - seen
                seen += len(data)
                if damaging and 0 <= at < len(data):
                    data = self.damage(data, at)
                    self.done.set()
                    if data is None:
                        self._close()
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # As a real connection does: if one end is gone, so is the other.
            self._close()

    def _close(self):
        for sock in self.listener, *self.links:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._close()
        self.thread.join(10)
