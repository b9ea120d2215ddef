#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Which machines move between the distribution's QEMU and ours, as a table.

Every PC machine type that both have, with each set of devices, migrates in
version 3 from the one to the other and back, with state that its devices got by
being stirred.  Those that only ours has do so in version 3 too, with the type
whose hardware they have; and in version 4 what they send is held against what
is on record (tests/wireformat).

    compatibility.py            the newest and the oldest of them, as a test
    compatibility.py --table    all of them, as a table

What does not move is migrated from the distribution's to the distribution's
too: if that fails, it is not between the two that there is a difference.  The
exit status is 0 if nothing else fails, and what is sent is what is on record.
"""

import collections
import concurrent.futures
import sys
import threading

from harness.qemu import (BUILT, STOCK, Qemu, migrate, tempdir,
                          wait_migration)
from harness.tap import Tap, check, equal
from wireformat import record, runs, words
from witness import byte_identity, machines

WORKERS = 2
SPEAK_3 = '-global', 'migration.stream-version=3'
BOTH, NEITHER, SAME = 'both ways', 'neither way', 'as on record'

# A word; what is to be said to it; what of that is not as it should be.
Cell = collections.namedtuple('Cell', 'word notes wrong')


class Pair:
    """A machine type on both sides: its names there, and what ours needs."""

    def __init__(self, name, known):
        self.name = name
        self.new = name not in known
        self.names = {STOCK: machines.model(name), BUILT: name}
        self.options = {STOCK: (), BUILT: SPEAK_3 if self.new else ()}


def moves(work, pair, devices, one, other):
    """Why the machine does not get from one binary to the other, or None."""
    path = work / f'{threading.get_ident()}.socket'
    try:
        with byte_identity.machine(one, pair.names[one], devices,
                                   *pair.options[one]) as src, \
             Qemu(other, *machines.arguments(pair.names[other], devices),
                  *pair.options[other], incoming=f'unix:{path}',
                  machine=machines.machine_option(pair.names[other], devices),
                  defaults=True) as dst:
            src_status = src.status()
            try:
                migrate(src, f'unix:{path}')
                wait_migration(dst)
            except Exception as error:
                said = [line.partition(': ')[2]
                        for line in dst.stderr().splitlines()
                        if 'warning: ' not in line]
                raise AssertionError('; '.join(said) or error) from error
            equal(dst.status(), src_status, 'what the guest is to do')
    except Exception as error:      # whatever it is, it is the answer
        return ' '.join(str(error).split())
    return None


class Table:
    """Cells are found out by several threads, and told in order."""

    def __init__(self, work, short=False):
        known = byte_identity.types_of(STOCK)
        built = byte_identity.types_of(BUILT)
        names = byte_identity.in_order(built)
        if short:
            names = self._ends(names)
        self.work = work
        self.record = record.Record()
        self.pairs = [Pair(name, known) for name in names]
        pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
        self.cells = {
            (kind, pair.name, devices): pool.submit(find, pair, devices)
            for pair in self.pairs for kind, find in self._kinds(pair)
            for devices in machines.SETS}

    @staticmethod
    def _ends(names):
        """Of each family the oldest, the newest, and those of version 4."""
        some = []
        for family in ('i440fx', 'q35'):
            of_it = [n for n in names if machines.family(n) == family]
            old = [n for n in of_it if machines.model(n) == n]
            some += [old[0], old[-1], *(n for n in of_it if n not in old)]
        return some

    def _kinds(self, pair):
        """What is found out about a machine type, and how."""
        yield 3, self._version3
        if pair.new:
            yield 4, self._version4

    def rows(self):
        return [(pair, kind) for pair in self.pairs
                for kind, _ in self._kinds(pair)]

    def _version3(self, pair, devices):
        failed, wrong = {}, []
        for one, other, way in ((STOCK, BUILT, 'to ours'),
                                (BUILT, STOCK, 'from ours')):
            why = moves(self.work, pair, devices, one, other)
            if why and moves(self.work, pair, devices, STOCK, STOCK):
                failed[way] = f'{why} (nor between two of the distribution\'s)'
            elif why:
                failed[way] = why
                wrong.append(f'{way}: {why}')
        word = NEITHER if len(failed) == 2 else BOTH
        if len(failed) == 1:
            word = 'from ours' if 'to ours' in failed else 'to ours'
        return Cell(word, [f'{way}: {why}' for way, why in failed.items()],
                    wrong)

    def _version4(self, pair, devices):
        old = self.record.items.get((devices, pair.name), [])
        found = list(words.differences(old, runs.items(self.work, devices,
                                                       pair.name)))
        return Cell('another' if found else SAME, found, found)

    def row(self, kind, name):
        return [self.cells[kind, name, devices].result()
                for devices in machines.SETS]


def ready_to_paste(table):
    """Prints it as it becomes known; the number of cells that are wrong."""
    widths = [20, 7] + [len(SAME)] * len(machines.SETS)
    notes, wrong = {}, 0

    def line(cells):
        return ' '.join(cell.ljust(width) for cell, width
                        in zip(cells, widths)).rstrip()

    rule = line('=' * width for width in widths)
    print(rule, line(['machine type', 'version', *machines.SETS]), rule,
          sep='\n', flush=True)
    for pair, kind in table.rows():
        row = table.row(kind, pair.name)
        print(line([pair.name, str(kind), *(cell.word for cell in row)]),
              flush=True)
        wrong += sum(bool(cell.wrong) for cell in row)
        for devices, cell in zip(machines.SETS, row):
            for note in cell.notes:
                notes.setdefault(f'{devices}, {note}', []).append(pair.name)
    print(rule, '', *(f'- {note}: {names[0]} to {names[-1]}, {len(names)} types'
                      for note, names in notes.items()), '',
          f'{len(table.cells)} cells, {wrong} of them wrong', sep='\n')
    return wrong


def one_row(table, kind, name):
    row = table.row(kind, name)
    said = [f'{devices}: {cell.word} {text}' for devices, cell
            in zip(machines.SETS, row) for text in cell.notes]
    check(not any(cell.wrong for cell in row), '\n'.join(said))
    # What does not move between two of the distribution's is only some of it.
    check(row[0].word in (BOTH, SAME) and
          NEITHER not in (cell.word for cell in row), '\n'.join(said))


def main():
    with tempdir() as work:
        if sys.argv[1:] == ['--table']:
            sys.exit(1 if ready_to_paste(Table(work)) else 0)
        table = Table(work, short=True)
        with Tap('machines that move between the distribution and ours') as t:
            for pair, kind in table.rows():
                t.case(f'{pair.name}, version {kind}', one_row, table, kind,
                       pair.name)


if __name__ == '__main__':
    main()
