#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is damaged in a version 4 stream is found, and told where.

The stream of a machine with many devices is loaded again and again, each time
with one thing wrong: a bit turned or a byte missing in every record, records
that are doubled, missing or changed round, an early end.  Every one must be
refused, in words that say in which section (name, instance) and at which
offset, what was expected and what came; in bounded time and memory.

Which bits and bytes is up to chance, whose seed is printed; DAMAGE_SEED in
the environment repeats a run.
"""

import concurrent.futures
import os
import random
import typing

from harness.qemu import BUILT, crash_report, tempdir
from harness.tap import Tap, check
from interop import packet, wire
from interop.loading import Destinations, Findings, Loader, unwell
from interop.retrying import Patient
from witness import byte_identity, machines

MACHINES = ['pc-i440fx-7.2-v4', 'pc-q35-7.2-v4']
SEED = int(os.environ.get('DAMAGE_SEED') or
           random.SystemRandom().getrandbits(32))
RANDOM_POSITIONS = 200
WORKERS = 2
WHOLE = 10              # every tenth try
HEADER = wire.HEADER.size
# With these devices each field of a header is damaged, with others one of
# them by chance.
THOROUGH = 'bare'


class Damage(typing.NamedTuple):
    what: str           # for a person
    data: bytes
    offsets: set        # of records at which it may be found
    places: set         # what the message may call the place
    words: tuple = ('expected', 'got')

    def fault(self, said):
        """What is wrong with what was said of it, or None."""
        wrong = ('it was accepted' if said is None else
                 unwell(said, self.offsets, self.places, self.words))
        return f'{self.what}: {wrong}' if wrong else None


class Victim:
    """A recorded stream and everything that can be done to it."""

    def __init__(self, data, thorough):
        self.data = data
        self.records = wire.parse(data)
        self.random = random.Random(SEED)
        self.fields = len(wire.FIELDS) if thorough else 1

    def flipped(self, position):
        data = bytearray(self.data)
        data[position] ^= 1 << self.random.randrange(8)
        return bytes(data)

    def without(self, position):
        return self.data[:position] + self.data[position + 1:]

    def before(self, index):
        """What a record is called whose own name can't be trusted."""
        return (self.records[index - 1].described() if index
                else 'the preamble')

    def in_header(self, index, what, data):
        record = self.records[index]
        return Damage(f'{what} of {record.described()} at {record.offset}',
                      data, {record.offset}, {self.before(index)})

    def in_payload(self, index, what, data):
        record = self.records[index]
        return self.in_header(index, what, data)._replace(
            places={record.described()})

    def bit_of_payload(self, index, at):
        """A page may be wrong for as long as it can still come right: it is
        told when all of the memory has come, and which page it is."""
        record = self.records[index]
        damage = self.in_payload(index, f'bit of byte {at}', self.flipped(at))
        inside = at - record.offset - HEADER - len(record.checked)
        if inside < 0:
            return damage
        of = packet.decode(record.payload)
        offset, _, _ = [e for e in of.entries if not e[1]][inside //
                                                           packet.PAGE]
        return damage._replace(
            offsets=None, places=None,
            words=(f"block '{of.name}', offset {offset:#x}", 'checksum'))

    # -- one kind of damage each, in every record that can have it

    def bits_of_headers(self):
        for i, record in enumerate(self.records):
            for name, start, size in self.random.sample(wire.FIELDS,
                                                        self.fields):
                at = record.offset + start + self.random.randrange(size)
                yield self.in_header(i, f'bit in the {name}',
                                     self.flipped(at))

    def bits_of_identifications(self):
        for i, record in enumerate(self.records):
            base = record.offset + HEADER
            last = base + record.ident_size - 1
            parts = [(base + 3, 'instance'), (base + 7, 'version'),
                     (base + 8, 'length'), (base + 9, 'name'),
                     (last - 4, 'name'), (last, 'checksum')]
            for at, what in self.random.sample(parts,
                                               min(len(parts), self.fields)):
                if record.identifies:
                    yield self.in_header(
                        i, f'bit in the identification ({what})',
                        self.flipped(at))

    def bits_of_payloads(self):
        for i, record in enumerate(self.records):
            begin = record.offset + HEADER + record.ident_size
            end = record.offset + record.size
            for at in {begin, end - 1, self.random.randrange(
                    begin, max(end, begin + 1))}:
                if begin < end:
                    yield self.bit_of_payload(i, at)

    def bits_anywhere(self):
        """What is damaged is looked up from the position."""
        first = wire.PREAMBLE.size
        for _ in range(RANDOM_POSITIONS):
            at = self.random.randrange(first, len(self.data))
            i = max(i for i, r in enumerate(self.records) if r.offset <= at)
            record = self.records[i]
            inside = at - record.offset
            yield (self.in_header(i, f'bit of byte {at}', self.flipped(at))
                   if inside < HEADER + record.ident_size
                   else self.bit_of_payload(i, at))

    def missing_in_headers(self):
        for i, record in enumerate(self.records):
            at = record.offset + self.random.randrange(HEADER)
            yield self.in_header(i, f'byte {at} missing', self.without(at))

    def missing_in_payloads(self):
        for i, record in enumerate(self.records):
            begin = record.offset + HEADER + record.ident_size
            end = record.offset + record.size
            if begin < end:
                at = self.random.randrange(begin, end)
                # The next header's first byte may be the one that is missing.
                yield self.in_payload(
                    i, f'byte {at} missing', self.without(at))._replace(
                        offsets={record.offset, end})

    def doubled(self):
        # Nothing behind the end is read.
        for i, record in enumerate(self.records[:-1]):
            end = record.offset + record.size
            yield self.in_payload(i, 'doubling', self.data[:end] +
                                  self.data[record.offset:])._replace(
                                      offsets={end})

    def removed(self):
        for i, record in enumerate(self.records):
            yield self.in_header(i, 'removal', self.data[:record.offset] +
                                 self.data[record.offset + record.size:])

    def swapped(self):
        for i, record in enumerate(self.records[:-1]):
            middle = record.offset + record.size
            end = middle + self.records[i + 1].size
            yield self.in_header(
                i, 'exchange with the next', self.data[:record.offset] +
                self.data[middle:end] + self.data[record.offset:middle] +
                self.data[end:])

    def cut(self):
        """At the beginning of a record, in its header, or in its payload."""
        for i, record in enumerate(self.records):
            inside = self.random.choice(['nothing', 'header', 'payload'])
            if inside == 'payload' and record.payload:
                at = record.offset + HEADER + self.random.randrange(
                    record.ident_size, len(record.payload))
                yield self.in_payload(i, f'end at {at}', self.data[:at])
            else:
                at = record.offset + (inside != 'nothing') * (
                    self.random.randrange(HEADER))
                yield self.in_header(i, f'end at {at}', self.data[:at])


KINDS = {
    'a bit of a header': Victim.bits_of_headers,
    'a bit of an identification': Victim.bits_of_identifications,
    'a bit of a payload': Victim.bits_of_payloads,
    'a bit anywhere': Victim.bits_anywhere,
    'a byte missing in a header': Victim.missing_in_headers,
    'a byte missing in a payload': Victim.missing_in_payloads,
    'a record doubled': Victim.doubled,
    'a record missing': Victim.removed,
    'two records changed round': Victim.swapped,
}


def in_turn(directory, machine, devices, found):
    """All kinds of damage, by one machine that loads them in turn."""
    with Loader(machine, devices, directory) as loader:
        victim = Victim(loader.stream, devices == THOROUGH)
        for kind, damages in KINDS.items():
            for damage in damages(victim):
                found.note(kind, damage.fault(loader.load(damage.data)))
        loader.memory()
        loader.take()


def again_and_again(directory, machine, devices, found):
    """All kinds once more, and an early end, by one destination that is given
    another try after each.  Now and then all but the last byte arrives, so
    that each device takes its state on top of what the tries before left."""
    with Patient(machine, devices, directory) as patient:
        victim = Victim(patient.stream, False)
        kinds = {**KINDS, 'an early end': Victim.cut}
        for kind, damages in kinds.items():
            for count, damage in enumerate(damages(victim)):
                found.note(f'{kind}, and another try',
                           damage.fault(patient.load(damage.data)))
                if count % WHOLE == 0:
                    said = patient.load(patient.stream[:-1])
                    check('expected 1 more' in said,
                          f'behind {damage.what}: {said}')
        patient.memory()
        patient.take()


def early_end(directory, machine, devices, found):
    """A stream cut short, each time for another destination, as what is in a
    snapshot has no end of its own."""
    data = byte_identity.sent(directory, BUILT, machine, devices)
    destinations = Destinations(machine, devices,
                                directory / f'{machine}-{devices}', data)
    for damage in Victim(data, False).cut():
        status, said = destinations.load(damage.data)
        crash = crash_report(status, said)
        wrong = (f'{damage.what}: {crash}: {said}' if crash else
                 f'{damage.what}: status {status}: {said}' if status != 1
                 else damage.fault(said))
        found.note('an early end', wrong)


def machine_with(directory, machine, devices):
    found = Findings()
    in_turn(directory, machine, devices, found)
    again_and_again(directory, machine, devices, found)
    early_end(directory, machine, devices, found)
    return found


def machine_and(machine, devices):
    return f'{machine} with {devices} devices'


def main(t, directory):
    total = 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = {(machine, devices): pool.submit(machine_with, directory,
                                                machine, devices)
                for devices in machines.SETS for machine in MACHINES
                if any(word in machine_and(machine, devices)
                       for word in t.chosen or [''])}
        for (machine, devices), job in jobs.items():
            of = machine_and(machine, devices)
            if not t.case(f'{of}: nothing goes wrong', job.result):
                continue
            for kind in job.result().tried:
                t.case(f'{of}: {kind}', job.result().check, kind)
            total += job.result().total()
    t.diag(f'{total} damaged streams were refused')


with Tap('damage to a version 4 stream') as tap:
    tap.diag(f'DAMAGE_SEED={SEED}')
    with tempdir() as work:
        main(tap, work)
