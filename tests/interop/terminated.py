# SPDX-License-Identifier: GPL-2.0-or-later
"""A Meddler for migrations over TLS: it has the certificates of both sides, so
each side's session ends here, and what is between them is plain.

Not a test: no TAP in here.
"""

import contextlib
import select
import socket
import ssl

from interop.link import CHUNK
from interop.meddling import Meddler


def context(protocol, directory, side):
    """As QEMU does it: both sides show a certificate, and look at it."""
    made = ssl.SSLContext(protocol)
    made.load_cert_chain(directory / f'{side}-cert.pem',
                         directory / f'{side}-key.pem')
    made.load_verify_locations(directory / 'ca-cert.pem')
    made.verify_mode = ssl.CERT_REQUIRED
    return made


class Session:
    """A TLS session in a socket, and what it says in another one.  All of it is
    for one thread: OpenSSL wants that."""

    def __init__(self, sock, plain, tls, **options):
        self.sock, self.plain = sock, plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.incoming, self.outgoing, **options)
        self.open = [sock, plain]

    def run(self):
        while not self._advances(self.tls.do_handshake):
            self._receive()
        self._take()
        while self.open:
            for ready in select.select(self.open, [], [])[0]:
                if ready is self.sock:
                    self._receive()
                    self._take()
                else:
                    self._give()

    def _advances(self, what):
        """Whether that could be done with what has come so far."""
        try:
            what()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            if self.outgoing.pending:
                self.sock.sendall(self.outgoing.read())

    def _receive(self):
        data = self.sock.recv(CHUNK)
        if data:
            self.incoming.write(data)
        else:
            # Whoever ends without a word is cut off: read() raises then
            self.incoming.write_eof()

    def _take(self):
        """Passes on what has been said; a goodbye is the end of it."""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self._read():
                self.plain.sendall(data)
            self.open.remove(self.sock)
            self.plain.shutdown(socket.SHUT_WR)

    def _read(self):
        try:
            return self.tls.read(CHUNK)
        except ssl.SSLZeroReturnError:
            return b''

    def _give(self):
        data = self.plain.recv(CHUNK)
        if not data:
            self.open.remove(self.plain)
            # Half of it is enough: the other side may have more to say
            self._advances(self.tls.unwrap)
            self.sock.shutdown(socket.SHUT_WR)
        while data:
            wrote = self.tls.write(data)
            data = data[wrote:]
            self._advances(lambda: None)


def terminated(directory):
    """A Meddler with the certificates that make_x509() has made there."""
    server = context(ssl.PROTOCOL_TLS_SERVER, directory, 'server')
    client = context(ssl.PROTOCOL_TLS_CLIENT, directory, 'client')

    class Terminated(Meddler):
        """One that speaks TLS on either side of it."""

        def _join(self, source, destination, count):
            ends = []
            for sock, tls, options in (
                    (source, server, {'server_side': True}),
                    (destination, client, {'server_hostname': 'localhost'})):
                here, there = map(self._keep, socket.socketpair())
                self._start(self._session, sock, there, tls, options)
                ends.append(here)
            super()._join(*ends, count)

        def _session(self, sock, plain, tls, options):
            try:
                Session(sock, plain, tls, **options).run()
            except (OSError, ValueError):
                self.sever(only=(sock, plain))

    return Terminated
