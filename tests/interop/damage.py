#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whatever is damaged in a version 4 stream is found, and told where.

The recorded stream of a stopped machine is loaded again and again, each time
with one thing wrong: a bit turned or a byte missing in every field of every
record, an early end, records that are doubled, missing or changed round.
Every load must end with status 1, and say in which section (name, instance)
and at which offset, what was expected and what came.

Which bits and bytes is up to chance, whose seed is printed; DAMAGE_SEED in
the environment repeats a run.
"""

import concurrent.futures
import os
import random
import re
import subprocess
import typing

from harness.qemu import BUILT, crash_report, environment, spawn, tempdir
from harness.tap import Tap, check
from interop import wire
from interop.live import record_stream

MACHINES = ['pc-i440fx-7.2-v4', 'pc-q35-7.2-v4']
SEED = int(os.environ.get('DAMAGE_SEED') or
           random.SystemRandom().getrandbits(32))
RANDOM_POSITIONS = 200
WORKERS = 2
LOAD_TIMEOUT = 60
SHOWN = 5               # wrong answers per case; more would not say more
HEADER = wire.HEADER.size


class Damage(typing.NamedTuple):
    what: str           # for a person
    data: bytes
    offsets: set        # of records at which it may be found
    places: set         # what the message may call the place


class Stream:
    """A recorded stream and everything that can be done to it."""

    def __init__(self, data):
        self.data = data
        self.records = wire.parse(data)
        self.random = random.Random(SEED)

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

    # -- one kind of damage each, in every record that can have it

    def header_field(self, name):
        _, start, size = next(f for f in wire.FIELDS if f[0] == name)
        for i, record in enumerate(self.records):
            at = record.offset + start + self.random.randrange(size)
            yield self.in_header(i, f'bit in the {name}', self.flipped(at))

    def identification(self):
        for i, record in enumerate(self.records):
            base = record.offset + HEADER
            last = base + record.ident_size - 1
            for at, what in ((base + 3, 'instance'), (base + 7, 'version'),
                             (base + 8, 'length'), (base + 9, 'name'),
                             (last - 4, 'name'), (last, 'checksum')):
                if record.identifies:
                    yield self.in_header(
                        i, f'bit in the identification ({what})',
                        self.flipped(at))

    def payload(self):
        for i, record in enumerate(self.records):
            begin = record.offset + HEADER + record.ident_size
            end = record.offset + record.size
            for at in {begin, end - 1, self.random.randrange(
                    begin, max(end, begin + 1))}:
                if begin < end:
                    yield self.in_payload(i, f'bit of byte {at}',
                                          self.flipped(at))

    def missing_in_header(self):
        for i, record in enumerate(self.records):
            at = record.offset + self.random.randrange(HEADER)
            yield self.in_header(i, f'byte {at} missing', self.without(at))

    def missing_in_payload(self):
        for i, record in enumerate(self.records):
            begin = record.offset + HEADER + record.ident_size
            end = record.offset + record.size
            if begin < end:
                at = self.random.randrange(begin, end)
                # The next header's first byte may be the one that is missing.
                yield self.in_payload(
                    i, f'byte {at} missing', self.without(at))._replace(
                        offsets={record.offset, end})

    def cut(self):
        for i, record in enumerate(self.records):
            at = record.offset + self.random.randrange(HEADER)
            yield self.in_header(i, f'end at {record.offset}',
                                 self.data[:record.offset])
            yield self.in_header(i, f'end at {at}', self.data[:at])
            if record.payload:
                at = record.offset + HEADER + self.random.randrange(
                    record.ident_size, len(record.payload))
                yield self.in_payload(i, f'end at {at}', self.data[:at])

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

    def anywhere(self):
        """What is damaged is looked up from the position."""
        first = wire.PREAMBLE.size
        for _ in range(RANDOM_POSITIONS):
            at = self.random.randrange(first, len(self.data))
            i = max(i for i, r in enumerate(self.records) if r.offset <= at)
            record = self.records[i]
            inside = at - record.offset
            where = (self.in_header if inside < HEADER + record.ident_size
                     else self.in_payload)
            yield where(i, f'bit of byte {at}', self.flipped(at))


def load(machine, path):
    """Exit status and stderr of a machine that loads a file."""
    command = [BUILT, '-machine', machine, '-accel', 'tcg', '-m', '16M', '-S',
               '-nodefaults', '-no-user-config', '-display', 'none',
               '-incoming', f'exec:cat {path}']
    with spawn(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
               stderr=subprocess.PIPE, text=True, errors='replace',
               env=environment()) as process:
        try:
            _, stderr = process.communicate(timeout=LOAD_TIMEOUT)
            return process.returncode, stderr
        except subprocess.TimeoutExpired:
            return None, ''
        finally:
            process.kill()


def fault(damage, status, stderr):
    """What is wrong with the answer to the damage, or None."""
    if status is None:
        return 'was loaded, or hangs'
    crash = crash_report(status, stderr)
    if crash:
        return f'{crash}: {stderr}'
    offset = re.search(r'record at offset (\d+)', stderr)
    if status != 1:
        return f'status {status}, not 1: {stderr}'
    if not offset or int(offset.group(1)) not in damage.offsets:
        return f'offset is not {damage.offsets}: {stderr}'
    if not any(place in stderr for place in damage.places):
        return f'place is not {damage.places}: {stderr}'
    if 'expected' not in stderr or 'got' not in stderr:
        return f'not what was expected and what came: {stderr}'
    return None


def try_one(machine, directory, number, damage):
    path = directory / f'damaged-{number}'
    path.write_bytes(damage.data)
    try:
        status, stderr = load(machine, path)
    finally:
        path.unlink()
    wrong = fault(damage, status, stderr)
    return f'{damage.what}: {wrong}' if wrong else None


def all_found(machine, directory, damages):
    wrong, tried = [], 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = (pool.submit(try_one, machine, directory, number, damage)
                for number, damage in enumerate(damages))
        for batch in iter(lambda: [job for job, _ in
                                   zip(jobs, range(4 * WORKERS))], []):
            results = [job.result() for job in batch]
            tried += len(results)
            wrong += filter(None, results)
            if len(wrong) >= SHOWN:
                break
    check(tried, 'nothing was tried')
    check(not wrong, f'{len(wrong)} of {tried} loads:\n' +
          '\n'.join(wrong[:SHOWN]))
    return tried


def main(t, directory):
    loads = 0

    def case(what, machine, damages):
        def run():
            nonlocal loads
            loads += all_found(machine, directory, damages)
        t.case(f'{machine}: {what}', run)

    for machine in MACHINES:
        stream = Stream(record_stream(machine, directory))
        for name, _, _ in wire.FIELDS:
            case(f'a bit of a header\'s {name}', machine,
                 stream.header_field(name))
        case('a bit of an identification', machine, stream.identification())
        case('a bit of a payload', machine, stream.payload())
        case('a bit anywhere', machine, stream.anywhere())
        case('a byte missing in a header', machine,
             stream.missing_in_header())
        case('a byte missing in a payload', machine,
             stream.missing_in_payload())
        case('an early end', machine, stream.cut())
        case('a record doubled', machine, stream.doubled())
        case('a record missing', machine, stream.removed())
        case('two records changed round', machine, stream.swapped())
    t.diag(f'{loads} damaged streams were refused')


with Tap('damage to a version 4 stream') as tap:
    tap.diag(f'DAMAGE_SEED={SEED}')
    with tempdir() as work:
        main(tap, work)
