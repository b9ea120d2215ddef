#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-vmstate compat: of files, of running QEMUs, of changed facts, and of
what is nothing of the kind.
"""

import contextlib
import copy
import json
import socket
import subprocess
import threading

from harness.qemu import BUILT, STOCK, Qemu, environment, tempdir
from harness.tap import Tap, check, equal
from tool.run import DEVICES, TOOL, V3, V4, record, run

E1000 = '0000:00:01.0/e1000'
ARGS = ['-S', '-m', '16M', '-device', 'e1000,addr=1', *DEVICES]


def put(name, facts, wrap=False):
    """A file with facts, as they are or as the monitor gives them."""
    path = place / name
    path.write_text(json.dumps({'return': facts} if wrap else facts,
                               indent=wrap and 4 or None))
    return path


def changed(change):
    """A file with facts that were changed."""
    facts = copy.deepcopy(base)
    change(facts, next(d for d in facts['devices'] if d['name'] == E1000))
    return put('changed', facts)


def goes(source, destination, *words, notes=0):
    said = run('compat', source, destination).good().out
    return says(said, words, 'The guest can go.', 0, notes)


def cannot(source, destination, *words, refusals=1, notes=0):
    done = run('compat', source, destination)
    equal((done.status, done.err), (1, ''), 'status and stderr')
    return says(done.out, words, 'The guest cannot go: '
                f'{refusals} refusal{"s"[:refusals != 1]}.', refusals, notes)


def says(said, words, verdict, refusals, notes):
    lines = said.splitlines()
    equal(lines[-1], verdict, said)
    equal(sum(line.startswith('refused') for line in lines), refusals, said)
    equal(sum(line.startswith('note') for line in lines), notes, said)
    for word in words:
        check(word in said, f'{word!r} is missing in {said!r}')
    return said


def same():
    said = goes(one, one, V4, 'version 4', 'features      hand-over\n')
    check('left off' not in said, said)
    equal(goes(put('wrapped', base, wrap=True), one), said, 'wrapped')


def standard_input():
    text = one.read_text().encode()
    equal(run('compat', '-', one, stdin=text).good().out, goes(one, one),
          'standard input')


def older_version():
    """The destination knows an older state only; the other way round it
    takes what comes."""
    def change(_, device):
        device.update({'version': 1, 'minimum-version': 1,
                       'saved-version': 1})

    old = changed(change)
    goes(one, old, f"device '{E1000}' (instance 0): its state is sent at "
         'version 1: the source saves versions 1 to 2, the destination loads '
         '1 to 1',
         notes=1)
    goes(old, one)


def no_version():
    def change(_, device):
        device.update({'version': 7, 'minimum-version': 6,
                       'saved-version': 7})

    new = changed(change)
    cannot(one, new, E1000, 'no version in common',
           'the source saves versions 1 to 2, the destination loads 6 to 7')
    cannot(new, one, E1000, 'no version in common',
           'the source saves versions 6 to 7, the destination loads 1 to 2')


def without_subsection(optional, needed):
    """A destination that knows no tso_state."""
    def subsection(device):
        return next(s for s in device['subsections']
                    if s['name'] == 'e1000/tx_tso_state')

    def lack(_, device):
        device['subsections'].remove(subsection(device))

    def change(_, device):
        subsection(device).update(optional=optional, needed=needed)

    destination = put('lacks', json.loads(changed(lack).read_text()))
    source = changed(change)
    words = E1000, "subsection 'e1000/tx_tso_state' is unknown to the dest"
    if optional:
        goes(source, destination, *words, 'and is left off', notes=1)
    elif needed:
        cannot(source, destination, *words, 'and is needed')
    else:
        goes(source, destination, *words, 'not needed now', notes=1)
    goes(destination, source)


def without_device(optional):
    def change(facts, device):
        facts['devices'].remove(device)

    def mark(_, device):
        device.update(optional=True, expected=False)

    lacks = put('lacks', json.loads(changed(change).read_text()))
    if optional:
        marked = changed(mark)
        goes(marked, lacks, 'the destination, which skips it', notes=1)
        goes(lacks, marked)
    else:
        cannot(one, lacks, f"device '{E1000}' (instance 0): the device is "
               'unknown to the destination and is needed')
        cannot(lacks, one, f"device '{E1000}' (instance 0): the destination "
               'expects its state, and the source has no such device')


def by_alias():
    """A device that is known there by another name."""
    def change(_, device):
        device.update({'name': 'elsewhere', 'alias': E1000,
                       'alias-instance': 0})

    goes(one, changed(change))


def features():
    def change(facts, _):
        facts['features'] += [{'name': 'made-up', 'required': required}]

    required = False
    goes(changed(change), one, "'made-up' of the source is left off",
         'left off      made-up\n', notes=1)
    required = True
    cannot(changed(change), one, "'made-up' is required by the source")
    cannot(one, changed(change), "'made-up' is required by the destination")


def newer_stream():
    def change(facts, _):
        facts['stream-versions'] = versions

    versions = [4, 5]
    goes(one, changed(change), 'stream        version 4')
    equal(run('compat', changed(change), changed(change)).good().out.count(
        'version 5'), 1, 'both newer')
    versions = [5]
    cannot(one, changed(change), "the source speaks '4', the destination '5'")


def many():
    """Another machine: everything that is wrong is told."""
    with Qemu(BUILT, '-S', machine='pc-i440fx-7.2') as other:
        path = put('other', other.qmp('query-vmstate'))
    done = run('compat', one, path)
    equal(done.status, 1, 'exit status')
    check(done.out.count('\nrefused ') > 16, done.out)
    check("of type 'pc-q35-7.2', the destination is a 'pc-i440fx-7.2'"
          in done.out, done.out)


@contextlib.contextmanager
def monitors(*machines):
    """QEMUs with a monitor at a socket."""
    with contextlib.ExitStack() as stack:
        paths = []
        for machine in machines:
            paths.append(place / f'monitor{len(paths)}')
            stack.enter_context(Qemu(
                BUILT, *ARGS, '-qmp', f'unix:{paths[-1]},server=on,wait=off',
                machine=machine))
        yield paths


def running():
    with monitors(V4, V3) as (source, destination):
        goes(source, destination, V4, V3)
        goes(destination, source)
        goes(source, one)
        goes(one, source)
        # The monitor is left as it was found
        goes(source, source)


def stock():
    path = place / 'stock'
    with Qemu(STOCK, '-S', '-qmp', f'unix:{path},server=on,wait=off',
              machine=V3):
        run('compat', one, path).bad(str(path), "refuses 'query-vmstate'",
                                     'not been found', status=2)


def peer(answers, hold=False):
    """What is said of a monitor that says that: each answer is for one line,
    the first comes before any."""
    path = place / 'peer'
    path.unlink(missing_ok=True)
    done = threading.Event()

    def serve():
        connection, _ = server.accept()
        with connection, connection.makefile('rb') as lines:
            with contextlib.suppress(OSError):
                for number, answer in enumerate(answers):
                    if number:
                        lines.readline()
                    connection.sendall(answer)
                if hold:
                    done.wait(60)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return run('compat', path, one)
        finally:
            done.set()
            thread.join()


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
READY = b'{"return": {}}\n'


def well_said():
    """Events may come between, and a message may come in pieces."""
    event = b'{"event": "STOP", "timestamp": {}}\n'
    answer = json.dumps({'return': base}).encode()
    peer([event + GREETING, event + READY + event,
          event * 1000 + answer + b'\n']).good()


def badly_said():
    def bad(answers, *words):
        peer(answers).bad(str(place / 'peer'), *words, status=2)

    bad([], 'the monitor is gone', 'its greeting')
    bad([GREETING], 'the monitor is gone')
    bad([GREETING, READY], 'the monitor is gone')
    bad([b'SSH-2.0-OpenSSH\r\n'], 'no QMP monitor', 'its greeting')
    bad([b'220 mail.example ESMTP\r\n'], 'no QMP monitor')
    bad([b'[]\n'], 'no QMP monitor', 'expected an object')
    bad([b'{"hello": 1}\n'], 'does not greet')
    bad([GREETING, b'\0\xff}\n'], 'no QMP monitor')
    bad([GREETING, b'{"error": {"class": "E", "desc": "Not you"}}\n'],
        "refuses 'qmp_capabilities': Not you")
    bad([GREETING, b'{"error": {}}\n'], 'without a reason')
    bad([GREETING, READY, b'{"return": []}\n'], 'with an object')
    bad([GREETING, READY, READY], 'qemu: expected an object, got nothing')
    bad([GREETING, READY, b'{"event": "A"}\n' * (18 << 16)], 'too much')


def silent():
    """Somebody who never answers is not waited for without end."""
    peer([GREETING], hold=True).bad('does not answer', 'qmp_capabilities',
                                    '20 seconds', status=2)


def nobody():
    path = place / 'nobody'
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    run('compat', path, one).bad('nobody: cannot connect', status=2)
    deep = place / ('d' * 100)
    deep.mkdir()
    with contextlib.chdir(deep), socket.socket(socket.AF_UNIX) as server:
        server.bind('socket')
        server.listen()
    run('compat', deep / 'socket', one).bad('path of the socket is too long',
                                            status=2)


def no_facts():
    def bad(data, *words):
        path = place / 'bad'
        path.write_bytes(data)
        done = run('compat', one, path).bad(str(path), *words, status=2)
        equal(done.out, '', 'stdout')

    text = one.read_bytes()
    bad(b'', 'no proper JSON')
    bad(text[:-10], 'no proper JSON')
    bad(text + text, 'no proper JSON')
    bad(b'[]', 'expected an object')
    bad(b'{"return": []}', 'expected an object')
    bad(b'{}', 'qemu: expected an object, got nothing')
    bad(text[:20] + b'\0' + text[20:], 'NUL')
    bad(text.replace(b'"version": 2', b'"version": "2"', 1),
        'version: expected a number, got a string')
    bad(b' ' * (17 << 20), 'too long', '16 MiB')
    stream = place / 'stream'
    record(stream, V4)
    run('compat', stream, one).bad('stream: it is no text', status=2)
    run('compat', place, one).bad('cannot read', status=2)
    done = run('compat', place / 'none', place / 'nor')
    equal((done.status, done.out), (2, ''), 'status and stdout')
    check('none: cannot open' in done.err and 'nor: cannot open' in done.err,
          done.err)


def wrong_use(*arguments, words):
    done = run('compat', *arguments).bad('--help', *words, status=2)
    equal(done.out, '', 'stdout')


def full_disk():
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([TOOL, 'compat', one, one], stdout=full,
                              check=False, stderr=subprocess.PIPE,
                              env=environment(), timeout=60)
    equal(done.returncode, 2, 'exit status')
    check(b'cannot write' in done.stderr, done.stderr)


def helps():
    said = run('compat', '--help').good().out
    for word in 'SOURCE DESTINATION', 'query-vmstate', 'exit status':
        check(word in said, f'{word!r} is missing in {said!r}')
    check('compat' in run('--help').good().out, 'compat is not in --help')


with Tap('qemu-vmstate compat') as tap, tempdir() as place:
    with Qemu(BUILT, *ARGS, machine=V4) as vm:
        base = vm.qmp('query-vmstate')
    one = put('one', base)
    tap.case('the same twice', same)
    tap.case('standard input', standard_input)
    tap.case('an older version of a device', older_version)
    tap.case('no version in common', no_version)
    tap.case('an optional subsection that is unknown', without_subsection,
             True, True)
    tap.case('a needed subsection that is unknown', without_subsection, False,
             True)
    tap.case('a subsection that is unknown and not needed',
             without_subsection, False, False)
    tap.case('a device that the other one lacks', without_device, False)
    tap.case('an optional device that the other one lacks', without_device,
             True)
    tap.case('a device with another name', by_alias)
    tap.case('features', features)
    tap.case('a newer stream', newer_stream)
    tap.case('another machine', many)
    tap.case('running QEMUs', running)
    tap.case("the distribution's QEMU", stock)
    tap.case('a monitor that says more', well_said)
    tap.case('what is no monitor', badly_said)
    tap.case('a monitor that does not answer', silent)
    tap.case('a socket of nobody', nobody)
    tap.case('what is no facts', no_facts)
    tap.case('no QEMU', wrong_use, words=['expected two QEMUs, got 0'])
    tap.case('one QEMU', wrong_use, 'a', words=['got 1'])
    tap.case('three QEMUs', wrong_use, 'a', 'b', 'c', words=['got 3'])
    tap.case('an option of another command', wrong_use, '--section', 'a', 'b',
             words=["'--section'"])
    tap.case('output that cannot be written', full_disk)
    tap.case('help', helps)
