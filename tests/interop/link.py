# SPDX-License-Identifier: GPL-2.0-or-later
"""A link between a source and a destination that can be cut.

Not a test: no TAP in here.
"""

import contextlib
import socket
import struct
import threading

CHUNK = 64 << 10
RESET = struct.pack('ii', 1, 0)     # SO_LINGER: what a close does not wait for


class Link:
    """Forwards connections, however many, to where the destination listens.

    watch   is called with each piece that the source sends, before it is
            passed on
    nth     on which of the connections, from 0
    """

    def __init__(self, uri, watch=None, nth=0):
        _, host, port = uri.split(':')
        self.target = host, int(port)
        self.watch = watch
        self.nth = nth
        self.lock = threading.Lock()
        self.is_cut = False
        self.deaf = False       # the source does not hear the destination
        self.arrived = False    # the destination has got a connection
        self.links = []
        self.threads = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.uri = f'tcp:127.0.0.1:{self.listener.getsockname()[1]}'
        self._start(self._accept)

    def _start(self, func, *args):
        thread = threading.Thread(target=func, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _keep(self, sock):
        with self.lock:
            if self.is_cut:
                sock.close()
                raise OSError('the link is cut')
            self.links.append(sock)
        return sock

    def _accept(self):
        count = 0
        with contextlib.suppress(OSError):
            while True:
                source = self._keep(self.listener.accept()[0])
                try:
                    destination = socket.create_connection(self.target)
                except OSError:
                    # Nobody listens there now; this one hears it so.
                    source.close()
                    continue
                self.arrived = True
                self._join(source, self._keep(destination), count)
                count += 1

    def _join(self, source, destination, count):
        """Begins to forward the connection of that number."""
        self._start(self._forward, source, destination,
                    self.watch if count == self.nth else None)
        self._start(self._forward, destination, source, None, True)

    def _forward(self, origin, target, watch, back=False):
        try:
            while data := origin.recv(CHUNK):
                if back and self.deaf:
                    continue
                if watch:
                    watch(data)
                target.sendall(data)
            self._ended(origin, target)
        except OSError:
            # As a real connection does: if one end is gone, so is the other.
            self.cut()

    def _ended(self, origin, target):
        """Passes the end on, unless this side has made it."""
        with self.lock:
            if origin in self.links:
                target.shutdown(socket.SHUT_WR)

    def sever(self, reset=False, only=None):
        """Ends the connections that there are, and takes others.

        reset   what is on its way gets lost
        only    these sockets
        """
        with self.lock:
            ending = [sock for sock in self.links
                      if only is None or sock in only]
            self.links = [sock for sock in self.links if sock not in ending]
        for sock in ending:
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                # Whoever waits in it wakes up.
                sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            sock.close()

    def cut(self):
        """Ends all connections at once, and takes no more."""
        with self.lock:
            self.is_cut = True
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.sever()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()
        for thread in self.threads:
            thread.join(10)
