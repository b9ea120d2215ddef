# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU processes and migrations between them.

A process started here dies with the thread that started it, its monitor is a
socket pair (there is no name to collide or to be left over), every wait is
bounded, and what goes wrong is told together with QEMU's stderr.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness.qmp import Qmp, QmpClosed, QmpError

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = os.environ.get('QEMU_BUILT',
                       f'{ROOT}/build/bin/qemu-system-x86_64')
STOCK = os.environ.get('QEMU_STOCK', '/usr/bin/qemu-system-x86_64')
QEMU_IMG = os.environ.get('QEMU_IMG', f'{ROOT}/build/bin/qemu-img')

# Version 4 leaves out what the guest has not used, and not with this.
WHOLE = '-global', 'migration.send-unused=on'

# Quitting flushes images and joins threads; a sanitizer makes it slow.
QUIT_TIMEOUT = 120
# How much longer anything may take on a machine that is busy with other things
BUSY = 4
POLL = 0.02
# What query-migrate shows of a migration that is over
ENDED = 'completed', 'failed', 'cancelled'


class QemuDied(Exception):
    """A QEMU process ended, crashed or hangs where it must not."""


@contextlib.contextmanager
def tempdir(prefix='migration-'):
    """A directory of the test's own, gone at the end whatever happens."""
    path = tempfile.mkdtemp(prefix=prefix)
    try:
        yield pathlib.Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_tcp_port():
    """A port that was free a moment ago.  Where it can be, let QEMU listen on
    port 0 and ask Qemu.listens_at() instead: that can't collide."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def spawn(command, **kwargs):
    """subprocess.Popen, but the child is killed when this thread ends."""
    return subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *command],
                            **kwargs)


def environment():
    """The environment of a QEMU: a sanitizer reports faults, not leaks; and
    threads share an arena, or what is reserved of memory depends on how many
    of them happened to allocate at once."""
    env = dict(os.environ)
    env.setdefault('MALLOC_ARENA_MAX', '1')
    env.setdefault('ASAN_OPTIONS', 'detect_leaks=0')
    env.setdefault('UBSAN_OPTIONS', 'print_stacktrace=1')
    return env


def crash_report(status, stderr):
    """What shows that a process ended by a fault of its own, or None."""
    for mark in ('ERROR: AddressSanitizer', 'runtime error:',
                 'WARNING: ThreadSanitizer', 'FATAL: ThreadSanitizer',
                 'Assertion `', 'Assertion failed', 'ERROR:../'):
        if mark in stderr:
            return f'stderr has "{mark}"'
    if status is not None and status < 0 and status != -signal.SIGKILL:
        return f'killed by {signal.Signals(-status).name}'
    return None


class Qemu:
    """One QEMU process with a monitor.

    machine, accel   None leaves the option out
    incoming         'defer' or a URI
    defaults         True keeps QEMU's default devices (VGA, floppy, NIC...)
    workdir          for its stderr; one of its own when None
    pass_fds         file descriptors that it inherits
    oob              for commands that the monitor runs past the main loop
    name             what messages call it
    """

    def __init__(self, binary, *args, incoming=None, machine='pc-q35-7.2',
                 accel='tcg', workdir=None, defaults=False, pass_fds=(),
                 name=None, oob=False):
        self.binary = str(binary)
        self.name = name or ('destination' if incoming else 'source')
        self._own = None
        if workdir is None:
            self._own = tempfile.mkdtemp(prefix='migration-qemu-')
        self.workdir = pathlib.Path(workdir or self._own)
        self.process = None
        self._qmp = None
        handle, path = tempfile.mkstemp(prefix=f'{self.name}-',
                                        suffix='.stderr', dir=self.workdir)
        self._stderr = pathlib.Path(path)
        ours, theirs = socket.socketpair()
        command = [self.binary, '-no-user-config', '-display', 'none',
                   '-chardev', f'socket,id=harness,fd={theirs.fileno()}',
                   '-mon', 'chardev=harness,mode=control']
        if not defaults:
            command += ['-nodefaults']
        if machine:
            command += ['-machine', machine]
        if accel:
            command += ['-accel', accel]
        command += [str(arg) for arg in args]
        if incoming:
            command += ['-incoming', incoming]
        self.command = command
        try:
            with theirs, open(handle, 'wb') as output:
                self.process = spawn(command, stdin=subprocess.DEVNULL,
                                     stdout=output, stderr=output,
                                     env=environment(),
                                     pass_fds=(theirs.fileno(), *pass_fds))
            self._qmp = Qmp(ours)
            self._guard(lambda: self._qmp.negotiate(oob))
        except BaseException:
            ours.close()
            self._kill()
            self._remove()
            raise

    # -- the monitor

    def qmp(self, cmd, **args):
        """Runs a QMP command; '_' in the names of arguments becomes '-'."""
        args = {key.replace('_', '-'): value for key, value in args.items()}
        return self._guard(lambda: self._qmp.execute(cmd, args))

    def qmp_oob(self, cmd, **args):
        """Runs one that must not wait for the main loop, which may hang."""
        return self._guard(lambda: self._qmp.execute(cmd, args, oob=True))

    def hmp(self, text):
        """Runs a line of the human monitor, returns what it prints."""
        return self.qmp('human-monitor-command',
                        **{'command-line': text}).replace('\r\n', '\n')

    def getfd(self, name, fd):
        """Gives QEMU a copy of a file descriptor under a name."""
        self._guard(lambda: self._qmp.execute('getfd', {'fdname': name},
                                              fds=[fd]))

    def events(self):
        """The events that have come so far."""
        self.qmp('query-name')
        return list(self._qmp.events)

    def wait_event(self, name, timeout=120):
        return self._guard(lambda: self._qmp.wait_event(name, timeout))

    def set_caps(self, **caps):
        """Sets migration capabilities: multifd=True."""
        self.qmp('migrate-set-capabilities', capabilities=[
            {'capability': key.replace('_', '-'), 'state': bool(state)}
            for key, state in caps.items()])

    def set_params(self, **params):
        """Sets migration parameters: max_bandwidth=1 << 30."""
        self.qmp('migrate-set-parameters', **params)

    def status(self):
        return self.qmp('query-status')['status']

    def wait_status(self, status, timeout=30):
        """Waits until the machine is in that state ('running', ...)."""
        wait_for(lambda: self.status() == status, timeout,
                 lambda: f'{self.name} is {self.status()}, not {status};'
                         f' {self.says()}')

    def listens_at(self):
        """The URI at which this destination takes its migration."""
        where = self.qmp('query-migrate')['socket-address'][0]
        if where['type'] == 'unix':
            return f'unix:{where["path"]}'
        return f'tcp:{where["host"]}:{where["port"]}'

    # -- the process

    @property
    def pid(self):
        return self.process.pid

    def stderr(self):
        """What it has written to stderr (and stdout) so far, without what ASan
        has to say of coroutines."""
        return re.sub(r"==\d+==WARNING: ASan doesn't fully support .*\n", '',
                      self._stderr.read_text(errors='replace'))

    def alive(self):
        return self.process.poll() is None

    def wait_exit(self, timeout=30):
        """Waits for its end and returns the exit status (-N: signal N)."""
        try:
            status = self.process.wait(timeout * BUSY)
        except subprocess.TimeoutExpired:
            raise QemuDied(f'{self.name} has not ended after '
                           f'{timeout * BUSY} s; '
                           f'{self.says()}') from None
        self._check_crash()
        return status

    def kill(self):
        """Ends it as a power cut does."""
        self._kill()

    def close(self):
        """Quits it, and raises if it has crashed or doesn't quit."""
        if self.process is None:
            return
        hangs = False
        try:
            if self.alive():
                try:
                    self._qmp.execute('quit', timeout=QUIT_TIMEOUT)
                except (QmpClosed, QmpError):
                    pass
                try:
                    self.process.wait(QUIT_TIMEOUT)
                except subprocess.TimeoutExpired:
                    hangs = True
            self._kill()
            if hangs:
                raise QemuDied(f'{self.name} does not quit; {self.says()}')
            self._check_crash()
        finally:
            self._kill()
            self._qmp.close()
            self._remove()
            self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        try:
            self.close()
        except QemuDied:
            if kind is None:
                raise

    def _guard(self, call):
        """Runs call; a lost monitor becomes QemuDied with the whole story."""
        try:
            return call()
        except QmpClosed as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            status = self.process.poll()
            state = ('still runs' if status is None
                     else f'ended with status {status}')
            raise QemuDied(f'{self.name} {state} ({error}); '
                           f'{self.says()}') from None

    def _check_crash(self):
        report = crash_report(self.process.poll(), self.stderr())
        if report:
            raise QemuDied(f'{self.name}: {report}; {self.says()}')

    def says(self):
        """Its stderr, as the end of a message."""
        said = self.stderr().strip()
        return f'its stderr:\n{said}' if said else 'its stderr is empty'

    def _kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _remove(self):
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)
        else:
            self._stderr.unlink(missing_ok=True)


def wait_for(condition, timeout, describe):
    """Polls condition; after BUSY times the timeout raises with what
    describe() returns."""
    timeout *= BUSY
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f'after {timeout} s: {describe()}')
        time.sleep(POLL)


def start_migration(src, uri, caps=None, params=None):
    """Sets the source up and starts; raises QmpError when it is refused."""
    if caps:
        src.set_caps(**caps)
    if params:
        src.set_params(**params)
    src.qmp('migrate', uri=uri)


def is_over(vm):
    """Whether a migration has ended, be it well or not: its status comes first,
    and then the run state, the files and what they were piped into."""
    return not any(one['type'] == 'migration' for one in vm.qmp('query-yank'))


def wait_migration(vm, states=('completed',), timeout=60):
    """Waits until query-migrate shows one of states, and returns it all.
    Raises as soon as the migration has ended in another one.  If it has ended,
    it is over."""
    states = (states,) if isinstance(states, str) else states

    def reached():
        info = vm.qmp('query-migrate')
        status = info.get('status', 'none')
        if status in states:
            return info
        if status in ENDED:
            why = info.get('error-desc', 'no reason given')
            raise RuntimeError(f'migration of {vm.name} is {status} ({why}), '
                               f'not {"/".join(states)}; {vm.says()}')
        return None

    info = wait_for(reached, timeout,
                    lambda: f'migration of {vm.name} is not '
                            f'{"/".join(states)} but '
                            f'{vm.qmp("query-migrate")}; {vm.says()}')
    if info['status'] not in ENDED:
        return info
    wait_for(lambda: is_over(vm), timeout, lambda: (
        f'migration of {vm.name} is {info["status"]}, but not over; '
        f'{vm.says()}'))
    return vm.qmp('query-migrate')


def migrate(src, uri, timeout=60, caps=None, params=None):
    """Migrates, waits for the end and returns query-migrate of the source."""
    start_migration(src, uri, caps, params)
    return wait_migration(src, ('completed',), timeout)
