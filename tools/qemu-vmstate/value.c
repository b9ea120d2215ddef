/*
 * qemu-vmstate: what a field's bytes mean
 *
 * Numbers where the type is one, and hexadecimal digits where it is not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "walk.h"

typedef enum Kind {
    KIND_BOOL,
    KIND_INT,
    KIND_UINT,
} Kind;

typedef struct Type {
    const char *name;
    Kind kind;
    unsigned size;
} Type;

/* Types that are numbers, big endian; of another size they are bytes */
static const Type types[] = {
    { "bool", KIND_BOOL, 1 },
    { "int8", KIND_INT, 1 },
    { "int16", KIND_INT, 2 },
    { "int32", KIND_INT, 4 },
    { "int32 equal", KIND_INT, 4 },
    { "int32 le", KIND_INT, 4 },
    { "int64", KIND_INT, 8 },
    { "int64 equal", KIND_INT, 8 },
    { "uint8", KIND_UINT, 1 },
    { "uint8 equal", KIND_UINT, 1 },
    { "uint16", KIND_UINT, 2 },
    { "uint16 equal", KIND_UINT, 2 },
    { "uint32", KIND_UINT, 4 },
    { "uint32 equal", KIND_UINT, 4 },
    { "uint64", KIND_UINT, 8 },
    { "timer", KIND_INT, 8 },       /* -1 when it is not armed */
};

static uint64_t read_number(const uint8_t *data, size_t size)
{
    uint64_t value = 0;

    while (size--) {
        value = value << 8 | *data++;
    }
    return value;
}

static void write_hex(JSONWriter *json, const char *name, const uint8_t *data,
                      size_t size)
{
    static const char digits[] = "0123456789abcdef";
    g_autofree char *text = g_malloc(2 * size + 1);
    size_t i;

    for (i = 0; i < size; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * size] = '\0';
    json_writer_str(json, name, text);
}

void value_write(JSONWriter *json, const char *name, const char *type,
                 const uint8_t *data, size_t size)
{
    uint64_t value;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i].size == size && !strcmp(types[i].name, type)) {
            break;
        }
    }
    if (i == ARRAY_SIZE(types)) {
        write_hex(json, name, data, size);
        return;
    }

    value = read_number(data, size);
    switch (types[i].kind) {
    case KIND_BOOL:
        json_writer_bool(json, name, value);
        break;
    case KIND_INT:
        json_writer_int64(json, name, (int64_t)(value << (64 - 8 * size)) >>
                          (64 - 8 * size));
        break;
    case KIND_UINT:
        json_writer_uint64(json, name, value);
        break;
    }
}
