# SPDX-License-Identifier: GPL-2.0-or-later
"""A checkout of its own for a test of the build, and a QEMU to build it from.

The scripts are those of this repository. The source package is a made-up one
with the name and version of the real one and a handful of files, in an apt
archive on disk: fetching, unpacking and patching are the real thing, and take
a moment instead of a minute.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

FILES = {
    'meson.build': "project('qemu')\n",
    '.gitignore': '/build/\n*.patch\n',
    'ignored.patch': 'named by .gitignore, and part of it all the same\n',
    'migration/savevm.c': ''.join(f'line {n}\n' for n in range(40)),
    'migration/ram.c': ''.join(f'page {n}\n' for n in range(40)),
    'tests/unit/meson.build': '# their tests\n',
    'debian/source/format': '3.0 (quilt)\n',
    'debian/control': 'Source: qemu\nMaintainer: Nobody <nobody@localhost>\n\n'
                      'Package: qemu\nArchitecture: any\n'
                      'Description: made up\n',
    'debian/changelog': 'qemu (1:{version}) bookworm; urgency=medium\n\n'
                        '  * Made up.\n\n'
                        ' -- Nobody <nobody@localhost>'
                        '  Tue, 03 Jan 2023 10:00:00 +0000\n',
}


def run(*command, status=0, **options):
    """Runs, wants an exit status (None: any but 0), and returns the output."""
    options.setdefault('stderr', subprocess.STDOUT)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, **options)
    if (done.returncode == 0) if status is None else done.returncode != status:
        raise AssertionError(f'{" ".join(map(str, command))} ended with '
                             f'{done.returncode}:\n{done.stdout}')
    return done.stdout


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_archive(directory, version='7.2+dfsg-7+deb12u99'):
    """An apt archive with QEMU's source; returns an /etc/apt that has it."""
    pool = directory / 'archive'
    upstream = version.rpartition('-')[0]
    source = pool / f'qemu-{upstream}'
    for name, text in FILES.items():
        write(source / name, text.replace('{version}', version))
    tar = pool / f'qemu_{upstream}.orig.tar.xz'
    run('tar', '-cJf', tar, '--exclude=debian', source.name, cwd=pool)
    run('dpkg-source', '-b', source.name, cwd=pool)
    shutil.rmtree(source)

    suite = pool / 'dists/bookworm'
    sources = run('dpkg-scansources', '.', cwd=pool,
                  stderr=subprocess.DEVNULL)
    write(suite / 'main/source/Sources', sources)
    digest = hashlib.sha256(sources.encode()).hexdigest()
    write(suite / 'Release',
          'Suite: bookworm\nCodename: bookworm\nComponents: main\nSHA256:\n'
          f' {digest} {len(sources)} main/source/Sources\n')
    apt = directory / 'apt'
    write(apt / 'sources.list',
          f'deb [trusted=yes] copy:{pool} bookworm main contrib\n')
    return apt


def git(directory, *arguments, **options):
    """Git as a developer of no particular settings."""
    who = {'GIT_CONFIG_GLOBAL': '/dev/null', 'GIT_CONFIG_NOSYSTEM': '1'}
    for role in 'AUTHOR', 'COMMITTER':
        who[f'GIT_{role}_NAME'] = 'A Developer'
        who[f'GIT_{role}_EMAIL'] = 'developer@localhost'
    return run('git', '-C', directory, *arguments, env=os.environ | who,
               **options).strip()


class Checkout:
    """A repository with our scripts, and with files and patches of its own."""

    def __init__(self, archive=True):
        self._directory = tempfile.TemporaryDirectory(prefix='build-test-')
        self.base = pathlib.Path(self._directory.name)
        # Others have to come in: one test is run as another user.
        self.base.chmod(0o755)
        self.root = self.base / 'checkout'
        self.build = self.root / 'build'
        self.tree = self.build / 'tree'
        self.patches = self.root / 'patches'
        self.root.mkdir()
        for name in 'scripts', 'Makefile', 'meson.build', 'meson_options.txt':
            path = REPOSITORY / name
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, self.root / name)
        write(self.root / '.gitignore', '/build/\n')
        self.env = dict(os.environ)
        if archive:
            self.env['APT_DIRECTORY'] = str(make_archive(self.base))
        git(self.root, 'init', '-q')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._directory.cleanup()

    def write(self, name, text):
        write(self.root / name, text)

    def script(self, name, *arguments, status=0, **options):
        return run(self.root / 'scripts' / name, *arguments, status=status,
                   env=self.env, cwd=self.root, **options)

    def commit(self, name, old, new, title):
        """Commits an edit of a file of QEMU's in the tree."""
        path = self.tree / name
        path.write_text(path.read_text().replace(old, new))
        git(self.tree, 'commit', '-q', '-a', '-m', title, '-m',
            'With a reason.')

    def series(self):
        """The patches, by name."""
        return {path.name: path.read_text()
                for path in sorted(self.patches.glob('*.patch'))}

    def make_series(self):
        """A tree with a series of three patches in patches/."""
        self.script('tree')
        self.commit('migration/savevm.c', 'line 3\n', 'our 3\n',
                    'savevm: a hook')
        self.commit('migration/ram.c', 'page 7\n', 'our 7\n', 'ram: a hook')
        self.commit('migration/savevm.c', 'line 30\n', 'our 30\n',
                    'savevm: another hook, of a title that is much too long '
                    'for the name of a file')
        self.script('refresh')

    def state(self):
        """What must not change when something fails: commits and edits."""
        return [git(self.tree, 'log', '--format=%H %s'),
                git(self.tree, 'status', '--porcelain', '--ignored'),
                git(self.tree, 'diff')]
