#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the fuzzers.

    tests/fuzz/run.py --short NAME      a short run, in TAP, always the same
    tests/fuzz/run.py [--seconds N] [NAME...]
    tests/fuzz/run.py --figures

The long run goes on where the last one has ended, N seconds (FUZZ_SECONDS of
the environment, or 3600) for each fuzzer, as many at a time as there are
processors. It ends at the first finding, and says what that
is, which input it was found with and how to see it again. --figures prints what
all runs together have come to. NAME is one of conversation, machine, packet,
records, section and tool.

What they begin with is in build/fuzz/seeds, made by tests/fuzz/corpus.py; what
was of use since in build/fuzz/corpus; findings in build/fuzz/findings.
"""

import argparse
import concurrent.futures
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [f'{ROOT}/tests', f'{ROOT}/tests/fuzz']

# pylint: disable=wrong-import-position
import corpus
from harness.qemu import BUILT, spawn, tempdir
from harness.tap import Tap, check

OUT = ROOT / 'build/fuzz'
SEEDS = OUT / 'seeds'
FINDINGS = OUT / 'findings'
FIGURES = OUT / 'figures.json'
WRITING = threading.Lock()

# Seconds for a short run of a fuzzer with all of its parts, how long each may
# take to come to its end after that; and after how many a long one begins anew,
# as its figures are told at its end.
SHORT = 18
PATIENCE = 150
SLICE = 600

LIMITS = ['-timeout=60', '-rss_limit_mb=4096', '-malloc_limit_mb=300']
# Its own output goes on; the messages of a thousand refused streams don't.
QUIET = ['-close_fd_mask=3', '-print_final_stats=1']


class Part:
    """One program with one set of inputs."""

    def __init__(self, name, program, *arguments, seeds, longest, **env):
        self.name = name
        self.command = [str(OUT / 'bin' / program), *arguments]
        self.seeds = [str(SEEDS / seed) for seed in seeds]
        self.longest = longest
        self.env = {
            **os.environ,
            'ASAN_OPTIONS': 'detect_leaks=0',
            'UBSAN_OPTIONS': 'halt_on_error=1:print_stacktrace=1',
            'ASAN_SYMBOLIZER_PATH': '/usr/lib/llvm-14/bin/llvm-symbolizer',
            **env}

    def start(self, log, directory, seconds, *options):
        """libFuzzer on an own directory of inputs, and on the seeds."""
        FINDINGS.mkdir(parents=True, exist_ok=True)
        return spawn([*self.command, *LIMITS, *QUIET, *options,
                      f'-max_len={self.longest}',
                      f'-max_total_time={max(1, round(seconds))}',
                      f'-artifact_prefix={FINDINGS}/{self.name}-',
                      str(directory), *self.seeds],
                     env=self.env, stdin=subprocess.DEVNULL, stdout=log,
                     stderr=log)

    def explain(self, text):
        """What a log says of a finding, with how it is seen again."""
        found = re.search(r'Test unit written to (\S+)', text)
        again = ''
        if found:
            settings = ' '.join(f"{name}='{self.env[name]}'" for name in
                                ('ASAN_OPTIONS', 'UBSAN_OPTIONS',
                                 'FUZZ_MACHINE') if name in self.env)
            command = [*self.command, *LIMITS, found.group(1)]
            said = subprocess.run(command, env=self.env, text=True,
                                  stdin=subprocess.DEVNULL,
                                  capture_output=True, errors='replace',
                                  check=False)
            text = said.stderr if said.returncode else text
            again = (f'\nfuzz: {"" if said.returncode else "not "}seen again'
                     f' with\n{settings} {" ".join(command)}')
        return f'{self.name}: a finding\n{text[-6000:]}{again}'


def machine(devices):
    """The fuzzer's machine with a set of devices, as its environment."""
    return ' '.join(['qemu', '-display', 'none', '-no-user-config',
                     '-accel', 'qtest', '-global',
                     'migration.config-check=off', *corpus.options(devices)])


FUZZERS = {
    'conversation': [Part('conversation', 'fuzz-conversation',
                          f'-dict={ROOT}/tests/fuzz/facts.dict',
                          seeds=['facts'], longest=32 << 10)],
    'machine': [Part('machine', 'fuzz-machine',
                     f'-dict={ROOT}/tests/fuzz/machine.dict',
                     seeds=['machines'], longest=64 << 10)],
    'packet': [Part('packet', 'fuzz-packet', seeds=['packets'],
                    longest=32 << 10)],
    'records': [Part('records', 'fuzz-records', seeds=corpus.SETS,
                     longest=16 << 10)],
    'section': [Part(f'section-{devices}', 'qemu-fuzz-x86_64',
                     '--fuzz-target=migration-section', seeds=[devices],
                     longest=64 << 10, FUZZ_MACHINE=machine(devices))
                for devices in corpus.SETS],
    'tool': [Part('tool', 'fuzz-tool', seeds=['described', *corpus.SETS],
                  longest=16 << 10)],
}


def figures_of(text):
    """Executions, and what libFuzzer counts as covered, from its log."""
    runs = re.findall(r'^#(\d+)\s', text, re.M)
    units = re.search(r'number_of_executed_units:\s*(\d+)', text)
    covered = re.findall(r'cov: (\d+) ft: (\d+) corp: (\d+)', text)
    edges, features, inputs = map(int, covered[-1]) if covered else (0, 0, 0)
    return {'executions': int(units.group(1) if units else
                              runs[-1] if runs else 0),
            'edges': edges, 'features': features, 'inputs': inputs}


def read_figures():
    """{part: figures} of all runs so far."""
    return json.loads(FIGURES.read_text()) if FIGURES.exists() else {}


def add_figures(name, seconds, text):
    """Adds those of one run to the others."""
    new = figures_of(text)
    with WRITING:
        everything = read_figures()
        mine = everything.setdefault(name, {'seconds': 0, 'executions': 0})
        mine['seconds'] = round(mine['seconds'] + seconds)
        new['executions'] += mine['executions']
        mine.update(new)
        aside = FIGURES.with_suffix('.new')
        aside.write_text(json.dumps(everything, indent=1) + '\n')
        aside.replace(FIGURES)


def print_figures():
    print(f'{"fuzzer":16} {"minutes":>8} {"executions":>12} {"edges":>8}'
          f' {"features":>9} {"inputs":>7}')
    for name, mine in sorted(read_figures().items()):
        print(f'{name:16} {mine["seconds"] / 60:8.0f}'
              f' {mine["executions"]:12} {mine["edges"]:8}'
              f' {mine["features"]:9} {mine["inputs"]:7}')


def make_seeds():
    """Those of the QEMU that was built last, once for all who ask."""
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / 'seeds.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = pathlib.Path(BUILT).stat().st_mtime
        if SEEDS.exists() and SEEDS.stat().st_mtime > built:
            return
        aside = OUT / 'seeds.new'
        shutil.rmtree(aside, ignore_errors=True)
        subprocess.run([sys.executable, ROOT / 'tests/fuzz/corpus.py', aside],
                       check=True)
        shutil.rmtree(SEEDS, ignore_errors=True)
        aside.rename(SEEDS)


def short(part, seconds):
    """A run from the seeds on, with always the same choices."""
    with tempdir() as directory:
        path = directory / 'log'
        (directory / 'corpus').mkdir()
        with path.open('wb') as log:
            fuzzer = part.start(log, directory / 'corpus', seconds, '-seed=1')
            try:
                status = fuzzer.wait(seconds + PATIENCE)
            except subprocess.TimeoutExpired:
                fuzzer.kill()
                fuzzer.wait()
                said = path.read_text(errors='replace')
                raise AssertionError(f'{part.name}: it does not end; last it '
                                     f'said\n{said[-3000:]}') from None
        text = path.read_text(errors='replace')
        if status:
            raise AssertionError(part.explain(text))
        return figures_of(text)


def run_short(name):
    with Tap(f'fuzzing: {name}') as tap:
        make_seeds()
        for part in FUZZERS[name]:
            def case(part=part):
                got = short(part, SHORT / len(FUZZERS[name]))
                tap.diag(f'  {got["executions"]} executions, {got["edges"]}'
                         ' edges')
                check(got['executions'] > 0, 'nothing was executed')
            tap.case(part.name, case)


def go_on(part, seconds):
    """A long run, in slices; raises at a finding."""
    directory = OUT / 'corpus' / part.name
    directory.mkdir(parents=True, exist_ok=True)
    path = OUT / f'{part.name}.log'
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with path.open('wb') as log:
            status = part.start(log, directory,
                                min(SLICE, end - began)).wait()
        text = path.read_text(errors='replace')
        add_figures(part.name, time.monotonic() - began, text)
        if status:
            raise AssertionError(part.explain(text))


def run_long(names, seconds):
    make_seeds()
    parts = [(part, seconds / len(FUZZERS[name])) for name in names
             for part in FUZZERS[name]]
    status = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(go_on, *part) for part in parts]
        for run in concurrent.futures.as_completed(runs):
            if run.exception() and not run.cancelled():
                print(f'fuzz: {run.exception()}', file=sys.stderr)
                for other in runs:
                    other.cancel()
                status = 1
    print_figures()
    return status


def main():
    parser = argparse.ArgumentParser(description='Runs the fuzzers.')
    parser.add_argument('--short', choices=FUZZERS)
    parser.add_argument('--seconds', type=int,
                        default=int(os.environ.get('FUZZ_SECONDS', 3600)))
    parser.add_argument('--figures', action='store_true')
    parser.add_argument('names', nargs='*')
    given = parser.parse_args()
    unknown = set(given.names) - set(FUZZERS)
    if unknown:
        parser.error(f'there is no fuzzer {", ".join(sorted(unknown))};'
                     f' there are {", ".join(FUZZERS)}')
    sys.argv[1:] = []
    if given.figures:
        print_figures()
    elif given.short:
        run_short(given.short)
    else:
        sys.exit(run_long(given.names or list(FUZZERS), given.seconds))


if __name__ == '__main__':
    main()
