# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that knows what goes by, in both directions, and does something at
any point of that: cut the connection, hold it up, kill a process.

Not a test: no TAP in here.
"""

import fcntl
import struct
import termios
import threading
import time

from harness.qemu import wait_for
from interop.link import CHUNK, Link
from interop.talk import Reader

SOURCE, DESTINATION = 'source', 'destination'
PLACES = BEFORE, AMID, AFTER = 'before', 'amid', 'after'
DELIVERY = 30


def delivered(sock):
    """Waits until the other end's kernel has all that was sent."""
    def nothing_left():
        left = fcntl.ioctl(sock, termios.TIOCOUTQ, b'\0' * 4)
        return struct.unpack('i', left)[0] == 0
    wait_for(nothing_left, DELIVERY, lambda: 'nobody takes what was sent')


class Relay(Link):
    """Forwards connections, unit by unit of what is said (talk.Unit).

    acts   {(who says it, name of the unit, place): function}: called once,
           the first time that this comes by: BEFORE it is passed on, when half
           of it is through (AMID), or AFTER it has arrived, and no answer yet
    seen   (who, name) of all that has been passed on, at least in part
    """

    def __init__(self, uri, acts=None):
        self.acts = dict(acts or {})
        self.seen = []
        self.flows = threading.Event()
        self.flows.set()
        self.over = threading.Event()
        self.silent = []
        self.answers = threading.Lock()     # held up while something happens
        super().__init__(uri)

    def stall(self):
        """Passes nothing on any more, as a network that has died does."""
        self.flows.clear()

    def resume(self):
        self.flows.set()

    def stall_for(self, seconds):
        self.stall()
        threading.Timer(seconds, self.resume).start()

    def silence(self):
        """The same, but connections that are made from now on get through."""
        with self.lock:
            self.silent += self.links

    def _join(self, source, destination, _count):
        self._start(self._pass_on, SOURCE, source, destination)
        self._start(self._pass_on, DESTINATION, destination, source)

    def _pass_on(self, who, origin, target):
        reader = Reader(lambda: origin.recv(CHUNK))
        try:
            while unit := reader.next():
                half = len(unit.data) // 2
                self._act(who, unit, BEFORE, target)
                self.seen.append((who, unit.name))
                self._send(target, unit.data[:half])
                self._act(who, unit, AMID, target)
                if (who, unit.name, AFTER) in self.acts:
                    with self.answers:
                        target.sendall(unit.data[half:])
                        self._act(who, unit, AFTER, target)
                else:
                    self._send(target, unit.data[half:])
            self._wait(target)
            self._ended(origin, target)
        except OSError:
            self.sever(only=(origin, target))

    def _send(self, target, data):
        self._wait(target)
        with self.answers:
            pass
        target.sendall(data)

    def _wait(self, target):
        self.flows.wait()
        if target in self.silent:
            self.over.wait()

    def _act(self, who, unit, place, target):
        act = self.acts.pop((who, unit.name, place), None)
        if act:
            delivered(target)
            act()

    def cut(self):
        super().cut()
        self.over.set()
        self.resume()
