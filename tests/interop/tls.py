# SPDX-License-Identifier: GPL-2.0-or-later
"""Credentials for migration over TLS, made for one test run.

Not a test: no TAP in here.
"""

import secrets
import subprocess

COMMON = 'expiration_days = 2\n'
CA = COMMON + 'cn = "migration test"\nca\ncert_signing_key\n'
SERVER = COMMON + ('cn = "localhost"\ndns_name = "localhost"\n'
                   'ip_address = "127.0.0.1"\n'
                   'tls_www_server\nsigning_key\nencryption_key\n')
CLIENT = COMMON + 'cn = "source"\ntls_www_client\nsigning_key\n'


def _certtool(*args):
    done = subprocess.run(['certtool', *map(str, args)], timeout=60,
                          capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f'certtool {args[0]}: {done.stderr}')


def _key(path):
    _certtool('--generate-privkey', '--key-type', 'ecdsa', '--outfile', path)
    return path


def make_x509(directory):
    """A CA, and certificates of it for both sides, as QEMU names them."""
    directory.mkdir()
    ca, ca_key = directory / 'ca-cert.pem', _key(directory / 'ca-key.pem')
    template = directory / 'template'
    template.write_text(CA)
    _certtool('--generate-self-signed', '--template', template,
              '--load-privkey', ca_key, '--outfile', ca)
    for side, text in ('server', SERVER), ('client', CLIENT):
        template.write_text(text)
        _certtool('--generate-certificate', '--template', template,
                  '--load-ca-certificate', ca, '--load-ca-privkey', ca_key,
                  '--load-privkey', _key(directory / f'{side}-key.pem'),
                  '--outfile', directory / f'{side}-cert.pem')
    return directory


def make_psk(directory):
    """A key that both sides share."""
    directory.mkdir()
    (directory / 'keys.psk').write_text(f'qemu:{secrets.token_hex(32)}\n')
    return directory


def credentials(kind, directory, endpoint):
    """QEMU's arguments for the credentials 'tls' of one side."""
    text = f'tls-creds-{kind},id=tls,dir={directory},endpoint={endpoint}'
    if kind == 'x509':
        text += ',verify-peer=on'
    return ['-object', text]
