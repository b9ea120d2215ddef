# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy between a source and a destination, which damages what goes by.

Not a test: no TAP in here.
"""

import contextlib
import socket
import threading

CHUNK = 64 << 10


def turned(data, at):
    """The data with one bit turned."""
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


def without(data, at):
    """The data with one byte less."""
    return data[:at] + data[at + 1:]


def no_more(_data, _at):
    """Nothing: the connection ends."""
    return None


def at_position(position, change):
    """Damage at one position of the stream."""
    def damage(data, offset):
        inside = 0 <= position - offset < len(data)
        return change(data, position - offset) if inside else data
    return damage


def at_content(contents, change):
    """Damage to the first of the byte strings that comes by."""
    def damage(data, _offset):
        for content in contents:
            if content in data:
                return change(data, data.index(content))
        return data
    return damage


def at_head(position, change):
    """Damage to what the next packet of the guest's memory says of itself."""
    named = at_content([b'\6pc.ram'], change)
    return lambda data, offset: (named(data, offset) if offset >= position
                                 else data)


class Proxy:
    """Forwards one connection to uri, damaged once.

    damage      gets some of the stream and the offset of that, and returns
                what to pass on, or None to end the connection
    backwards   damages what the destination says, not what the source sends
    """

    def __init__(self, uri, damage, backwards=False):
        _, host, port = uri.split(':')
        self.target = host, int(port)
        self.damage = damage
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
                passed = data
                if damaging and not self.done.is_set():
                    passed = self.damage(data, seen)
                    if passed != data:
                        self.done.set()
                    if passed is None:
                        self._close()
                        return
                seen += len(data)
                target.sendall(passed)
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
