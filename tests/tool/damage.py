#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage that qemu-vmstate has to find: every record of a real stream in turn
flipped, cut off, left out, doubled, in another place; and what comes behind.
"""

from harness.qemu import tempdir
from harness.tap import Tap, check, equal
from interop import wire
from interop.stream import Stream
from tool.run import V3, V4, record, run


def refused(data, *words):
    """All commands refuse the bytes; verify says nothing else."""
    path.write_bytes(data)
    equal(run('verify', path).bad(*words).out, '', 'stdout of verify')
    equal(run('dump', path).bad(*words).out, '', 'stdout of dump')
    run('info', path).bad(*words)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


def each(change, *words):
    """Changes the stream at one record after the other."""
    for number, rec in enumerate(stream.records):
        changed = change(number, rec)
        if changed is not None:
            try:
                refused(changed, *words)
            except AssertionError as error:
                raise AssertionError(
                    f'{rec.described()} at {rec.offset}: {error}') from None


def flip_header(_number, rec):
    return flip(whole, rec.offset + rec.offset % wire.HEADER.size)


def flip_payload(_number, rec):
    middle = rec.offset + wire.HEADER.size + len(rec.payload) // 2
    return flip(whole, middle) if rec.payload else None


def flip_checksum(_number, rec):
    return flip(whole, rec.offset + 12)


def cut_before(_number, rec):
    return whole[:rec.offset]


def cut_inside(_number, rec):
    return whole[:rec.offset + rec.size - 1]


def in_place(records):
    """The records as they were, each with the offset that it had."""
    return whole[:wire.PREAMBLE.size] + b''.join(
        rec.encode(rec.offset) for rec in records)


def left_out(number, _rec):
    return in_place(stream.records[:number] + stream.records[number + 1:])


def doubled(number, rec):
    return in_place(stream.records[:number] + [rec] + stream.records[number:])


def swapped(number, rec):
    if number + 1 == len(stream.records):
        return None
    following = stream.records[number + 1]
    return in_place(stream.records[:number] + [following, rec]
                    + stream.records[number + 2:])


def numbered_again(number, rec):
    """Left out, with nothing in the offsets to show for it."""
    if rec.type in (wire.CONFIGURATION, wire.COMMAND, wire.VMDESCRIPTION):
        return None
    return wire.encode(stream.records[:number] + stream.records[number + 1:])


def named():
    """The message has the section that is damaged."""
    for rec in stream.records:
        if rec.name is not None and rec.name != 'ram':
            path.write_bytes(flip_payload(0, rec))
            run('verify', path).bad(f"'{rec.name}'", f'instance {rec.instance}',
                                    f'offset {rec.offset}')


def info_shows_what_came():
    """Up to where the damage is, sections are in the table."""
    rec = stream.find('i8254')
    path.write_bytes(flip_payload(0, rec))
    said = run('info', path).bad("'i8254'").out
    check('version 4' in said and ' hpet ' in said, said)
    check(' pcspk ' not in said, said)


def behind_the_end():
    refused(whole + b'\0', 'behind the end', f'offset {len(whole)}')
    path.write_bytes(whole)
    run('verify', path).good()


def old_cut(at):
    refused(old[:at], 'does not end in a description', 'cut short')


def old_lost():
    """A byte less anywhere in the devices: they are not where they were."""
    at = old.rindex(b'\x05i8254')
    refused(old[:at] + old[at + 1:], "'i8254'")


def old_state():
    """A device's state is a byte shorter than it tells."""
    at = old.rindex(b'\x05i8254') + 20
    path.write_bytes(old[:at] + old[at + 1:])
    run('verify', path).bad("'i8254'")


def old_damaged():
    """What is in the fields has no checksum, and the tool says that."""
    path.write_bytes(flip(old, old.rindex(b'\x05i8254') + 20))
    check('no checksums' in run('verify', path).good().out, 'is silent')


with Tap('qemu-vmstate finds damage') as tap, tempdir() as directory:
    record(directory / 'v4', V4, '-device', 'virtio-rng-pci')
    whole = (directory / 'v4').read_bytes()
    stream = Stream(whole)
    record(directory / 'v3', V3, '-device', 'virtio-rng-pci')
    old = (directory / 'v3').read_bytes()
    path = directory / 'changed'
    tap.diag(f'{len(stream.records)} records')
    tap.case('flipped headers', each, flip_header)
    tap.case('flipped payloads', each, flip_payload, 'checksum')
    tap.case('flipped checksums', each, flip_checksum, 'checksum')
    tap.case('cut before a record', each, cut_before, 'too early')
    tap.case('cut inside of a record', each, cut_inside, 'too early')
    tap.case('records left out', each, left_out)
    tap.case('records left out, and the rest moved up', each, numbered_again)
    tap.case('records doubled', each, doubled)
    tap.case('records swapped', each, swapped)
    tap.case('the section is named', named)
    tap.case('info shows what came before', info_shows_what_came)
    tap.case('something behind the end', behind_the_end)
    for part in 9, 1000, len(old) // 2, len(old) - 1:
        tap.case(f'version 3, cut at {part}', old_cut, part)
    tap.case('version 3, a header is shorter', old_lost)
    tap.case('version 3, a state is shorter', old_state)
    tap.case('version 3, a flipped field', old_damaged)
