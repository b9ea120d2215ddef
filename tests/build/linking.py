#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our files in QEMU's tree: there, up to date, and never over QEMU's own."""

from checkout import Checkout, git
from harness.tap import Tap, check, equal

FILE = 'migration/stream/new.c'


def in_place():
    with Checkout() as c:
        c.write(FILE, 'ours\n')
        c.script('tree')
        linked = c.tree / FILE
        check(linked.is_symlink(), f'{FILE} is not linked')
        c.write(FILE, 'edited\n')
        equal(linked.read_text(), 'edited\n', 'an edit of ours')
        linked.write_text('edited there\n')
        equal((c.root / FILE).read_text(), 'edited there\n', 'an edit there')
        equal(git(c.tree, 'status', '--porcelain'), '', 'git status')


def come_and_gone():
    with Checkout() as c:
        c.script('tree')
        c.write(FILE, 'ours\n')
        c.write('docs/devel/migration-v4/wire.rst', 'ours too\n')
        c.write('elsewhere/not.c', 'in no room\n')
        c.script('tree')
        check((c.tree / FILE).exists(), 'a new file is not linked')
        check(not (c.tree / 'elsewhere').exists(), 'elsewhere is linked')
        (c.root / FILE).unlink()
        c.script('tree')
        check(not (c.tree / FILE).is_symlink(), 'a deleted file is linked')
        check(not (c.tree / FILE).parent.exists(), 'its directory is there')
        check((c.tree / 'docs/devel/migration-v4/wire.rst').exists(),
              'another file is gone')


def deleted_in_git():
    """A file that is deleted but still in git's index is gone too."""
    with Checkout() as c:
        c.write(FILE, 'ours\n')
        git(c.root, 'add', FILE)
        c.script('tree')
        (c.root / FILE).unlink()
        c.script('tree')
        check(not (c.tree / FILE).is_symlink(), 'it is still linked')


def meson_definitions():
    """A meson.build of ours is linked only where QEMU has none."""
    with Checkout() as c:
        c.write('tests/unit/meson.build', '# ours\n')
        c.write('migration/stream/meson.build', '# ours\n')
        c.script('tree')
        equal((c.tree / 'tests/unit/meson.build').read_text(),
              '# their tests\n', "QEMU's meson.build")
        check((c.tree / 'migration/stream/meson.build').is_symlink(),
              'ours is not linked where QEMU has none')


def same_name():
    with Checkout() as c:
        c.script('tree')
        before = c.state()
        c.write('migration/savevm.c', 'ours\n')
        said = c.script('tree', status=1)
        check(str(c.root / 'migration/savevm.c') in said
              and str(c.tree / 'migration/savevm.c') in said, said)
        equal(c.state(), before, 'the tree')


def in_the_way():
    """What a developer has put into the tree itself is not overwritten."""
    with Checkout() as c:
        c.script('tree')
        mine = c.tree / FILE
        mine.parent.mkdir()
        mine.write_text('mine\n')
        c.write(FILE, 'ours\n')
        said = c.script('tree', status=1)
        check('in the way' in said and str(mine) in said, said)
        equal(mine.read_text(), 'mine\n', 'it')


with Tap("our files in QEMU's tree") as t:
    t.case('an edit is in place', in_place)
    t.case('files come and go', come_and_gone)
    t.case('a file deleted but in the index', deleted_in_git)
    t.case('meson.build only where QEMU has none', meson_definitions)
    t.case("a file of QEMU's is never replaced", same_name)
    t.case("a developer's own file is never replaced", in_the_way)
