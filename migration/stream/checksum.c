/*
 * Migration stream version 4: the checksum
 *
 * CRC32C out of ISA-L, which chooses the fastest code for the processor when
 * it is first called; docs/devel/migration-v4/checksum.rst has the
 * measurements that it was chosen by.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration/stream/record.h"
#include <isa-l/crc.h>

/* ISA-L takes an int for the length, and its buffers are not const */
QEMU_BUILD_BUG_ON(STREAM_PAYLOAD_MAX > INT_MAX);

uint32_t stream_crc32c_extend(uint32_t crc, const void *data, size_t length)
{
    assert(length <= STREAM_PAYLOAD_MAX);
    return ~crc32_iscsi((unsigned char *)data, length, ~crc);
}

uint32_t stream_crc32c(const void *data, size_t length)
{
    return stream_crc32c_extend(0, data, length);
}
