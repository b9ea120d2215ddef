#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-vmstate and packets of pages: which pages are damage, and which have
come right since; what it says of them; and packets that nobody would send.
"""

import struct

from harness.qemu import tempdir
from harness.tap import Tap, check, equal
from interop import packet, wire
from interop.packet import PAGE, Packet, end_of_round
from interop.stream import Stream
from tool.run import V4, record, run

PAGES = [bytes([n]) * PAGE for n in range(1, 5)]


def with_packets(*parts):
    """The stream with these packets for its memory, and with nothing else."""
    stream = original.copy()
    start = stream.find('ram', wire.START)
    stream.records = [r for r in stream.records
                      if r.name != 'ram' or r is start]
    at = stream.records.index(start) + 1
    stream.records[at:at] = packet.section(start, parts)
    return stream


def write(stream):
    data = stream if isinstance(stream, bytes) else stream.encode()
    path.write_bytes(data)


def good(*parts, pages):
    write(with_packets(*parts))
    said = run('verify', path).good().out
    check(f', {pages} page' in said, said)
    run('info', path).good()
    run('dump', path).good()


def bad(words, *parts):
    write(with_packets(*parts))
    for command in 'verify', 'info', 'dump':
        run(command, path).bad(*words)


def wrong(page, offset=0x3000, **given):
    """A page that is not what its checksum says."""
    p = Packet(**given).page(offset, page)
    p.data = b'?' + p.data[1:]
    return p


def counted():
    write(with_packets(
        [Packet().page(0, PAGES[0]).zeros(0x1000, 7).page(0x8000, PAGES[1]),
         end_of_round()],
        [Packet(round=2).zeros(0), end_of_round(2)]))
    said = run('info', path).good().out
    check('memory: 2 packets in 2 rounds, 2 pages and 8 of zeros' in said, said)
    check(', 10 pages, ' in run('verify', path).good().out, 'verify is silent')


def comes_right():
    """The guest has written to it while it was sent: it came again."""
    good([wrong(PAGES[0]), end_of_round()],
         [Packet(round=2).page(0x3000, PAGES[1]), end_of_round(2)], pages=2)
    good([wrong(PAGES[0]), wrong(PAGES[1], 0x4000), wrong(PAGES[1], 0x5000)],
         [Packet().zeros(0x2000, 4), end_of_round()], pages=7)


def damaged():
    bad(["section 'ram' (instance 0)", "block 'pc.ram', offset 0x3000",
         'checksum', 'pages in all that are: 1'],
        [wrong(PAGES[0]), end_of_round()])
    # Right at first, and then wrong
    bad(["block 'pc.ram', offset 0x3000"],
        [Packet().page(0x3000, PAGES[0]), end_of_round()],
        [wrong(PAGES[0], round=2), end_of_round(2)])
    # What comes right is beside it, or of another block
    bad(["block 'pc.ram', offset 0x3000", 'in all that are: 1'],
        [wrong(PAGES[0])],
        [Packet().zeros(0x2000).zeros(0x4000, 9),
         Packet(name='vga.vram').page(0x3000, PAGES[0]),
         end_of_round()])
    bad(["block 'pc.ram', offset 0x1000", 'in all that are: 2'],
        [wrong(PAGES[0], n * PAGE) for n in range(1, 5)],
        [Packet().zeros(2 * PAGE, 2), end_of_round()])


def without_end():
    """A section that does not end: then the stream's end is it."""
    stream = with_packets([wrong(PAGES[0])], [end_of_round()])
    for rec in stream.records:
        if rec.type == wire.SECTION_END:
            rec.type = wire.PART
    write(stream)
    run('verify', path).bad("block 'pc.ram', offset 0x3000", 'checksum')


def rounds():
    """They end one after the other, and no page comes in another one."""
    page = Packet(round=2).page(0, PAGES[0])
    bad(['wrong round: expected round 1, got 2'], [page], [end_of_round()])
    bad(['wrong round: expected round 3, got 2'],
        [end_of_round(), end_of_round(2)], [page, end_of_round(3)])
    bad(['out of order: expected round 1, got 2'], [end_of_round(2)],
        [end_of_round()])
    bad(['out of order: expected round 2, got 1'], [end_of_round()],
        [end_of_round()])


def packed():
    good([Packet().page(0, PAGES[0]).page(0x1000, PAGES[1]).packed()],
         [end_of_round()], pages=2)
    spoilt = Packet().page(0, PAGES[0]).page(0x1000, PAGES[1]).packed()
    spoilt.data = spoilt.data[:5] + b'\xff\xff' + spoilt.data[7:]
    bad(["block 'pc.ram', offset 0x0", 'in all that are: 2'], [spoilt],
        [end_of_round()])


def wrong_heads():
    for words, made in {
            'wrong length': Packet(entries=[(0, 0, 5)], data=b'short'),
            'is no page': Packet().page(12, PAGES[0]),
            'contradicts': Packet(name='').page(0, PAGES[0]),
            'does not know': Packet(kind=2).page(0, PAGES[0]),
            'too many pages': Packet(entries=[(0, 1, 0), (0, 65536, 0)]),
            'too many entries': Packet(entries=[(0, 1, 0)] * 1025)}.items():
        bad(["section 'ram' (instance 0), record at offset", words], [made],
            [end_of_round()])


def elsewhere():
    """In a section of something else."""
    stream = with_packets([end_of_round()], [end_of_round(2)])
    start = stream.find('ram', wire.START)
    stream.rename(start, 'rom')
    for rec in stream.records:
        if rec.name == 'ram':
            rec.name = 'rom'
    write(stream)
    run('verify', path).bad("section 'rom'", 'comes elsewhere')


def every_byte_of_a_head():
    """It is refused by its checksum, whatever it is; of a page it is a damaged
    page."""
    stream = with_packets([Packet().page(0x3000, PAGES[0])], [end_of_round()])
    data = stream.encode()
    place = next(r for r in wire.parse(data) if r.flags & wire.HEAD)
    begin = place.offset + wire.HEADER.size
    size, = struct.unpack_from('>I', place.payload)
    for at in range(begin, begin + size):
        write(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
        said = run('verify', path).bad("section 'ram'",
                                       f'offset {place.offset}').err
        check('of head are damaged' in said or
              at < begin + 4 and 'impossible length' in said, said)
    at = begin + size + 100
    write(data[:at] + bytes([data[at] ^ 4]) + data[at + 1:])
    run('verify', path).bad("block 'pc.ram', offset 0x3000")


def hex_shows():
    write(with_packets([Packet().page(0x3000, PAGES[0])], [end_of_round()]))
    said = run('hex', '--section', 'ram', path).good().out
    check('flags 0x0004' in said and 'damaged' not in said, said)
    check('pc.ram' in said, said)


def of_qemu():
    """What QEMU makes is packets, and is read back as such."""
    found = packet.of(original.records)
    entries = [e for p in found for e in p.entries]
    check(found and found[-1].kind == packet.ROUND, 'no round has ended')
    said = run('info', whole).good().out
    pages = len([e for e in entries if not e[1]])
    zeros = sum(e[1] for e in entries)
    check(f'{pages} pages and {zeros} of zeros' in said, said)
    equal([p.round for p in found], sorted(p.round for p in found), 'rounds')


with Tap('qemu-vmstate and packets of pages') as tap, tempdir() as directory:
    whole, path = directory / 'v4', directory / 'changed'
    record(whole, V4)
    original = Stream(whole.read_bytes())
    tap.case('what QEMU makes', of_qemu)
    tap.case('counted', counted)
    tap.case('pages that come right later', comes_right)
    tap.case('pages that do not', damaged)
    tap.case('a section without an end', without_end)
    tap.case('rounds', rounds)
    tap.case('compressed', packed)
    tap.case('heads that are wrong', wrong_heads)
    tap.case('in another section', elsewhere)
    tap.case('each byte of a head', every_byte_of_a_head)
    tap.case('hex', hex_shows)
