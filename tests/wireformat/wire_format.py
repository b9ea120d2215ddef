#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire format is what is on record, in expected/, of each machine type
with each set of devices.

With --accept what is sent now is put on record instead.
"""

import concurrent.futures
import os
import sys

from harness.qemu import BUILT, Qemu, tempdir
from harness.tap import Tap, check, equal
from witness import byte_identity, machines
from wireformat import record, runs, words
from wireformat.model import Field

WORKERS = 2
ACCEPT = ('if it is meant to be, `make accept-wire-format` puts it on record; '
          'commit that too')


class Comparison:
    def __init__(self, work, old, types):
        self.old = old
        self.pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
        self.found = {
            (devices, machine): self.pool.submit(runs.items, work, devices,
                                                 machine)
            for devices, names in runs.sets(types).items()
            for machine in names}
        self.told = {}          # {sentence: the machine type it was told of}

    def sentences(self, machine):
        """{sentence: {set of devices: None}} for all that has changed."""
        found = {}
        for (devices, name), future in self.found.items():
            old = self.old.items.get((devices, machine), [])
            if name == machine:
                for sentence in words.differences(old, future.result()):
                    found.setdefault(sentence, {})[devices] = None
        return found

    def machine_type(self, machine):
        check(any(name == machine for _, name in self.old.items),
              f'{machine} is new; {ACCEPT}')
        lines, again = [], {}
        for sentence, where in self.sentences(machine).items():
            first = self.told.setdefault(sentence, machine)
            if first == machine:
                lines.append(f'{machine}: {sentence}  [{", ".join(where)}]')
            else:
                again[first] = again.get(first, 0) + 1
        lines += [f'{machine}: {number} of the differences of {first}'
                  for first, number in again.items()]
        check(not lines, '\n'.join(
            ['what is sent is not what is on record:', *lines, ACCEPT]))

    def none_gone(self):
        gone = {machine for _, machine in self.old.items} - {
            machine for _, machine in self.found}
        check(not gone, f'{", ".join(sorted(gone))} are on record, but this '
              f'QEMU has no such machine types; {ACCEPT}')


def changed(items, name, change):
    """Items of which one has its structure changed."""
    return [item._replace(structure=change(item.structure))
            if item.name == name else item for item in items]


def tells_apart(items):
    """The words for changes that a developer might make."""
    def said(new, *expected):
        equal(list(words.differences(items, new)), list(expected), 'words')

    def edit(change):
        return changed(items, 'hpet 0', change)

    hpet = next(i.structure for i in items if i.name == 'hpet 0')
    first, *others = hpet.fields
    last = others[-1].structure
    said(items)
    said(edit(lambda s: s._replace(version=3)),
         "section 'hpet' (instance 0): version 2 -> 3")
    said(edit(lambda s: s._replace(version=3, fields=(
        first, Field('x', 'uint32, 4 bytes'), *others))),
         "section 'hpet' (instance 0): version 2 -> 3; new field 'x' "
         "(uint32, 4 bytes) behind 'config'")
    said(edit(lambda s: s._replace(fields=tuple(others))),
         "section 'hpet' (instance 0): field 'config' (uint64, 8 bytes) is "
         'gone')
    said(edit(lambda s: s._replace(fields=(
        first._replace(what='uint32, 4 bytes'), *others))),
         "section 'hpet' (instance 0): field 'config': uint64, 8 bytes -> "
         'uint32, 4 bytes')
    said(edit(lambda s: s._replace(fields=(first, *others[:-1], others[
        -1]._replace(name='timer[4]', structure=last._replace(version=7))))),
         "section 'hpet' (instance 0): field 'timer[3]' -> 'timer[4]'; "
         'in timer[4]: version 1 -> 7')
    said(edit(lambda s: s._replace(
        subsections=(last._replace(name='hpet/new'),))),
         *[f"section 'hpet' (instance 0): {what}" for what in [
             '; '.join([*(f"subsection '{sub.name}' is gone"
                          for sub in hpet.subsections),
                        "new subsection 'hpet/new' (version 1)"])]])
    at = [item.name for item in items].index('hpet 0')
    said(items[:at] + items[at + 1:],
         "section 'hpet' (instance 0) is not sent any more")


def kept(directory, old):
    """What is written is read again as it was, and a change of a structure
    changes what is written of that structure alone."""
    record.write(old.items, record.Record(directory), directory)
    again = record.Record(directory)
    check(again.items == old.items, 'the record differs when it is read again')
    before = contents(directory)
    record.write({key: changed(items, 'hpet 0', lambda s: s._replace(
        version=s.version + 1)) for key, items in old.items.items()},
                 again, directory)
    after = contents(directory)
    equal([path.name for path in after if after[path] != before.get(path)],
          ['hpet'], 'files that a change of hpet changes')


def contents(directory):
    return {path: path.read_text() for path in sorted(directory.rglob('*'))
            if path.is_file()}


def main():
    os.environ.update(byte_identity.FILL_HEAP)
    accept = sys.argv[1:] == ['--accept']
    with tempdir() as work, Qemu(BUILT, machine='none', accel=None) as vm:
        comparison = Comparison(work, record.Record(),
                                machines.machine_types(vm))
        if accept:
            record.write({key: future.result() for key, future
                          in comparison.found.items()}, comparison.old)
            return
        with Tap('the wire format is the one on record') as t:
            for machine in dict.fromkeys(m for _, m in comparison.found):
                t.case(machine, comparison.machine_type, machine)
            t.case('no machine type is gone', comparison.none_gone)
            t.case('a difference is told in words', tells_apart,
                   comparison.found['bare', 'pc-q35-7.2'].result())
            t.case('the record can be read and written', kept, work / 'record',
                   comparison.old)


if __name__ == '__main__':
    main()
