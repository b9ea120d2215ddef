# SPDX-License-Identifier: GPL-2.0-or-later
"""A link between a source and a destination that can be cut.

Not a test: no TAP in here.
"""

import contextlib
import socket
import threading

CHUNK = 64 << 10


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
                destination = self._keep(
                    socket.create_connection(self.target))
                self._start(self._forward, source, destination,
                            self.watch if count == self.nth else None)
                self._start(self._forward, destination, source, None)
                count += 1

    def _forward(self, origin, target, watch):
        try:
            while data := origin.recv(CHUNK):
                if watch:
                    watch(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut()

    def cut(self):
        """Ends all connections at once, and takes no more."""
        with self.lock:
            self.is_cut = True
            for sock in self.listener, *self.links:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cut()
        for thread in self.threads:
            thread.join(10)
