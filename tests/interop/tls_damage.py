#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage under TLS.  A bit of what is encrypted ends the session, with a reason
on both sides, and the source runs on.  Behind somebody who has the certificates
of both sides, pages heal as they do without TLS.
"""

import contextlib
import functools

from harness.qemu import tempdir
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import TLS
from interop.meddling import exactly
from interop.proxy import turned
from interop.scene import Scene, Wrong, untouched
from interop.terminated import terminated
from interop.tls import credentials, make_psk, make_x509

KINDS = {'psk': make_psk, 'x509': make_x509}
SOURCE, DESTINATION = 'source', 'destination'
PATIENT, IMPATIENT = 30000, 8000        # milliseconds
HEADER = 5                  # of a TLS record; its length is at the end
MAIN, CHANNEL = 'the main channel', 'a channel'


class Damaged(Link):
    """Changes the middle of the TLS record that has a byte, on the main channel
    or on whichever other one gets as far as that first."""

    def __init__(self, uri, *_, where, who, at, change, **__):
        self.main = where == MAIN
        self.who, self.at, self.change = who, at, change
        self.done = False
        super().__init__(uri)

    def _join(self, source, destination, count):
        chosen = self.main == (count == 0)
        for who, ends in ((SOURCE, (source, destination)),
                          (DESTINATION, (destination, source))):
            self._start(self._damage, *ends, chosen and who == self.who)

    def _damage(self, origin, target, chosen):
        seen = 0
        try:
            with origin.makefile('rb') as stream, contextlib.suppress(EOFError):
                while True:
                    record = exactly(stream, HEADER)
                    record += exactly(stream, int.from_bytes(record[3:], 'big'))
                    seen += len(record)
                    if chosen and seen > self.at and not self.done:
                        self.done = True
                        record = self.change(record, len(record) // 2)
                    target.sendall(record)
            self._ended(origin, target)
        except (OSError, ValueError):
            self.sever(only=(origin, target))


def cut(data, at):
    return data[:at]


def pair(directory, kind, multifd, *args, link=None):
    where = directory / 'tls'
    KINDS[kind](where)
    return Scene(directory, multifd, *args, creds=[
        credentials(kind, where, side) for side in ('client', 'server')],
        link=link(where) if link else None, **TLS)


# Where there is a handshake, and where there are pages; behind ENCRYPTED all is
ENCRYPTED = 5000
PLACES = [(where, who, at)
          for where, who, at in (
              (MAIN, SOURCE, 100), (MAIN, DESTINATION, 100),
              (MAIN, SOURCE, 1000), (MAIN, DESTINATION, 8000),
              (MAIN, SOURCE, 20000), (MAIN, SOURCE, 1 << 20),
              (CHANNEL, SOURCE, 100), (CHANNEL, DESTINATION, 100),
              (CHANNEL, SOURCE, 1 << 20))]


def fails(scene, **how):
    links = []

    def link(*args, **options):
        links.append(Damaged(*args, **options, **how))
        return links[0]
    scene.link = link
    here, there = scene.fails(untouched)
    tap.diag(f'  source: {here}')
    tap.diag(f'  destination: {there}')
    check(links[0].done, 'nothing was damaged')
    reader = there if how['who'] == SOURCE else here
    check('TLS' in here + there, f'neither says what it was: {here}; {there}')
    check(how['at'] < ENCRYPTED or how['change'] is cut or
          'Bad message' in reader, f'the reader does not say why: {reader}')


def damage(t, kind, multifd):
    name = f'{kind}, {"multifd" if multifd else "the main stream"}'
    with tempdir() as directory, pair(directory, kind, multifd) as scene:
        for vm in scene.src, scene.dst:
            vm.set_params(peer_timeout=IMPATIENT)
        for where, who, at in PLACES:
            if where == CHANNEL and not multifd:
                continue
            if (where, at) == (MAIN, 1 << 20) and multifd:
                continue
            t.case(f'{name}: a bit of {where}, from the {who}, at {at}', fails,
                   scene, where=where, who=who, at=at, change=turned)
        where = CHANNEL if multifd else MAIN
        t.case(f'{name}: the end of {where}', fails, scene, where=where,
               who=SOURCE, at=1 << 19, change=cut)
        scene.link = functools.partial(Damaged, where=MAIN, who=SOURCE, at=1 << 40,
                                       change=cut)
        for vm in scene.src, scene.dst:
            vm.set_params(peer_timeout=PATIENT)
        t.case(f'{name}: and then as it should be', lambda: equal(
            scene.succeeds(untouched), (0, 0), 'healed, damaged'))


def heals(multifd, number):
    with tempdir() as directory, \
         pair(directory, 'x509', multifd, '-S', link=terminated) as scene:
        wrong = Wrong(number)
        healed, damaged = scene.succeeds(wrong)
        check(wrong.pages, 'nothing was damaged')
        equal((healed, damaged), (len(wrong.pages),) * 2, 'healed, damaged')
        for vm in scene.src, scene.dst:
            check('tls' in vm.qmp('query-migrate'), 'it was no TLS')


with Tap('damage under TLS') as tap:
    for threads in False, True:
        for psk in KINDS:
            damage(tap, psk, threads)
        tap.case(f'{"multifd" if threads else "the main stream"}: pages heal',
                 heals, threads, 5)
