#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From patches to the tree and back: deterministic, and nothing is lost."""

import shutil
import subprocess
import time

from checkout import REPOSITORY, Checkout, git, run
from harness.tap import Tap, check, equal


def assembled():
    with Checkout() as c:
        c.write('migration/stream/new.c', 'ours\n')
        c.make_series()
        titles = git(c.tree, 'log', '--reverse', '--format=%s').splitlines()
        equal(titles[:2], ['QEMU 1:7.2+dfsg-7+deb12u99', 'savevm: a hook'],
              'first commits')
        equal(len(titles), 4, 'commits')
        equal(git(c.tree, 'status', '--porcelain'), '', 'git status')
        check('ignored.patch' in git(c.tree, 'ls-files'),
              'a file that .gitignore names is not in the base')
        check(not (c.tree / 'debian').exists(), 'the packaging is there')


def refreshed_twice():
    with Checkout() as c:
        c.make_series()
        first = c.series()
        equal(len(first), 3, 'patches')
        times = [p.stat().st_mtime_ns for p in sorted(c.patches.iterdir())]
        said = c.script('refresh')
        check('3 patches, 0 changed' in said, said)
        equal(c.series(), first, 'the second refresh')
        equal([p.stat().st_mtime_ns for p in sorted(c.patches.iterdir())],
              times, 'times of the files')


def round_trip():
    with Checkout() as c:
        c.make_series()
        patches = c.series()
        content = git(c.tree, 'rev-parse', 'HEAD^{tree}')
        shutil.rmtree(c.tree)
        c.script('tree')
        equal(git(c.tree, 'rev-parse', 'HEAD^{tree}'), content, 'the files')
        head = git(c.tree, 'rev-parse', 'HEAD')
        c.script('refresh')
        equal(c.series(), patches, 'patches')
        shutil.rmtree(c.tree)
        c.env['GIT_AUTHOR_NAME'] = 'Somebody Else'
        c.script('tree')
        equal(git(c.tree, 'rev-parse', 'HEAD'), head, 'the last commit')


def dropped_patch():
    """A commit that is gone from the tree is gone from patches/ too."""
    with Checkout() as c:
        c.make_series()
        git(c.tree, 'reset', '-q', '--hard', 'HEAD~2')
        c.script('refresh')
        equal(len(c.series()), 1, 'patches')
        git(c.tree, 'reset', '-q', '--hard', 'base')
        c.script('refresh')
        equal(len(c.series()), 0, 'patches')
        c.script('tree')


def followed_in_place():
    """A changed series touches only the files that it changes."""
    with Checkout() as c:
        c.make_series()
        last = sorted(c.patches.iterdir())[-1]
        kept = c.tree / 'migration/ram.c'
        before = kept.stat().st_mtime_ns
        time.sleep(0.02)
        text = last.read_text()
        last.write_text(text.replace('+our 30', '+changed 30'))
        c.script('tree')
        check('changed 30' in (c.tree / 'migration/savevm.c').read_text(),
              'the change is not in the tree')
        equal(kept.stat().st_mtime_ns, before, 'time of a file without change')
        last.unlink()
        c.script('tree')
        check('line 30' in (c.tree / 'migration/savevm.c').read_text(),
              'a patch that is gone is still in the tree')
        equal(git(c.tree, 'worktree', 'list').count('\n'), 0, 'work trees')


def kept_work():
    """Commits and edits that patches/ lacks are not overwritten."""
    with Checkout() as c:
        c.make_series()
        sorted(c.patches.iterdir())[-1].unlink()
        c.commit('migration/ram.c', 'page 9', 'mine 9', 'ram: in the making')
        before = c.state()
        said = c.script('tree', status=1)
        check('ram: in the making' in said and 'make refresh' in said
              and 'make tree-reset' in said, said)
        equal(c.state(), before, 'the tree')
        said = c.script('clean', status=1)
        check('ram: in the making' in said, said)
        c.script('tree', 'reset')
        check('mine 9' not in (c.tree / 'migration/ram.c').read_text(),
              'the commit is still there')
        (c.tree / 'migration/ram.c').write_text('an edit\n')
        sorted(c.patches.iterdir())[-1].unlink()
        said = c.script('tree', status=1)
        check('migration/ram.c' in said, said)
        equal((c.tree / 'migration/ram.c').read_text(), 'an edit\n', 'it')
        c.script('tree', 'reset')
        c.script('clean')
        check(not c.build.exists(), 'build/ is still there')


def broken_patch():
    """A patch that does not apply is named; the tree stays as it was."""
    with Checkout() as c:
        c.make_series()
        c.script('tree', 'reset')
        before = c.state()
        second = sorted(c.patches.iterdir())[1]
        good = second.read_text()
        second.write_text(good.replace('-page 7', '-page seven'))
        said = c.script('tree', status=1)
        check(f'patches/{second.name} does not apply' in said, said)
        equal(c.state(), before, 'the tree')
        said = c.script('tree', 'reset', status=1)
        equal(c.state(), before, 'the tree after reset')
        second.write_text(good)
        c.script('tree')
        equal(c.state(), before, 'the tree with the good patch again')

        shutil.rmtree(c.tree)
        second.write_text(good.replace('-page 7', '-page seven'))
        said = c.script('tree', status=1)
        check(f'patches/{second.name} does not apply' in said, said)
        check(not c.tree.exists(), 'half a tree was left')
        second.write_text(good)
        c.script('tree')
        equal(c.state(), before, 'the tree made anew')


def real_series():
    """QEMU's own source: all of patches/ applies, one by one, and comes back.

    The base is taken from the tree of this build; its work is left alone.
    """
    with Checkout(archive=False) as c:
        shutil.copytree(REPOSITORY / 'patches', c.patches)
        wanted = c.series()
        c.build.mkdir()
        run('git', 'clone', '-q', '--shared', '--no-checkout', '--branch',
            'base', '-c', 'advice.detachedHead=false',
            REPOSITORY / 'build/tree', c.tree)
        git(c.tree, 'checkout', '-q', '-b', 'series')
        (c.tree / '.git/series').write_text(
            f'series none\nhead {git(c.tree, "rev-parse", "base")}\n')
        c.script('tree')
        equal(int(git(c.tree, 'rev-list', '--count', 'base..HEAD')),
              len(wanted), 'commits')
        c.script('refresh')
        equal(sorted(c.series()), sorted(wanted), 'names of patches')
        for name, text in c.series().items():
            check(text == wanted[name], f'{name} came back different: '
                  "run 'make refresh' and look at patches/")
        said = subprocess.run(
            ['git', '-C', c.tree, 'log', '--format=%s%n%b', 'base..HEAD'],
            capture_output=True, text=True, check=True).stdout
        check(said.strip(), 'an empty series')


with Tap('the series of patches') as t:
    t.case('a tree is assembled from the source package', assembled)
    t.case('refresh twice: no difference', refreshed_twice)
    t.case('patches to tree and back: no difference', round_trip)
    t.case('a commit dropped is a patch dropped', dropped_patch)
    t.case('a changed series is followed in place', followed_in_place)
    t.case('work that patches/ lacks is kept', kept_work)
    t.case('a patch that does not apply is named', broken_patch)
    t.case('every patch of ours applies, and comes back', real_series)
