/*
 * Migration stream version 4: the page that is looked at next
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_RAM_PREFETCH_H
#define MIGRATION_RAM_PREFETCH_H

/* Bytes that one prefetch brings; some processors bring more */
#define RAM_PREFETCH_LINE 64

/**
 * ram_prefetch: have a page in the cache when it is looked at next
 *
 * A processor looks ahead within a page, but not beyond its end, and not at all
 * where a checksum is made of several parts of the page at a time.
 *
 * @page: of @page_size bytes; it need not be there, nothing is faulted in
 */
static inline void ram_prefetch(const uint8_t *page, size_t page_size)
{
    for (size_t i = 0; i < page_size; i += RAM_PREFETCH_LINE) {
        __builtin_prefetch(page + i);
    }
}

#endif
