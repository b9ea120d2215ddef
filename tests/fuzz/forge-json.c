/*
 * What two sides of a migration say of themselves: JSON that is wrong in a
 * chosen way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "forge.h"
#include "forge-frames.h"
#include "forge-json.h"

/* A member or an element, or the value of a member */
typedef struct Span {
    size_t at;
    size_t end;
    bool value;
} Span;

static size_t behind_string(const char *text, size_t size, size_t at)
{
    while (++at < size && text[at] != '"') {
        at += text[at] == '\\';
    }
    return MIN(at + 1, size);
}

/* Up to the comma or the bracket that ends what begins at @at */
static size_t end_of(const char *text, size_t size, size_t at)
{
    int depth = 0;

    while (at < size) {
        switch (text[at]) {
        case '"':
            at = behind_string(text, size, at);
            continue;
        case '{': case '[':
            depth++;
            break;
        case '}': case ']':
            if (!depth--) {
                return at;
            }
            break;
        case ',':
            if (!depth) {
                return at;
            }
        }
        at++;
    }
    return at;
}

/* Any of those that there are: the whole, if there is none */
static Span any_span(const char *text, size_t size, uint32_t *random)
{
    g_autoptr(GArray) begins = g_array_new(false, false, sizeof(size_t));
    Span span = { .end = size };

    for (size_t at = 0; at < size; ) {
        if (text[at] == '"') {
            at = behind_string(text, size, at);
        } else if (strchr("{[,:", text[at++])) {
            g_array_append_val(begins, at);
        }
    }
    if (begins->len) {
        span.at = g_array_index(begins, size_t,
                                forge_random(random, begins->len));
        span.end = end_of(text, size, span.at);
        span.value = text[span.at - 1] == ':';
    }
    return span;
}

static void put(GString *text, Span span, const char *with, size_t length)
{
    g_autofree char *copy = g_memdup2(with, length);

    g_string_erase(text, span.at, span.end - span.at);
    g_string_insert_len(text, span.at, copy, length);
}

/* With the comma before it, or else behind it */
static void take_out(GString *text, Span span)
{
    if (span.at && text->str[span.at - 1] == ',') {
        span.at--;
    } else if (span.end < text->len && text->str[span.end] == ',') {
        span.end++;
    }
    g_string_erase(text, span.at, span.end - span.at);
}

static void double_it(GString *text, Span span)
{
    g_autofree char *copy = g_strdup_printf("%.*s,",
                                            (int)(span.end - span.at),
                                            text->str + span.at);

    g_string_insert(text, span.at, copy);
}

static void change_bytes(GString *text, Span span)
{
    size_t length = span.end - span.at;
    g_autofree uint8_t *bytes = g_malloc0(2 * length + 64);

    memcpy(bytes, text->str + span.at, length);
    length = LLVMFuzzerMutate(bytes, length, 2 * length + 64);
    put(text, span, (char *)bytes, length);
}

static void put_odd(GString *text, Span span, uint32_t *random)
{
    static const char *const odd[] = {
        "0", "1", "4", "4294967295", "4294967296", "-1", "1.5", "1e999",
        "18446744073709551616", "true", "false", "null", "\"\"", "\"a\"",
        "\"\\u0000\"", "\"\\u009b\"", "\"\\ufffe\"", "\"\xc3\xa9\"", "{}",
        "[]", "[4,5]", "{\"name\":\"a\",\"version\":1,\"instance\":0}",
    };
    const char *with = odd[forge_random(random, ARRAY_SIZE(odd))];

    put(text, span, with, strlen(with));
}

static void change(GString *text, uint32_t *random)
{
    Span span = any_span(text->str, text->len, random);
    Span other = any_span(text->str, text->len, random);

    switch (forge_random(random, 8)) {
    case 0:
        take_out(text, span);
        break;
    case 1:
        double_it(text, span);
        break;
    case 2 ... 3:
        /* Also into its own midst, so that it grows deeper */
        for (int i = 0; i < 4 && span.value != other.value; i++) {
            other = any_span(text->str, text->len, random);
        }
        put(text, span, text->str + other.at, other.end - other.at);
        break;
    case 4 ... 5:
        put_odd(text, span, random);
        break;
    default:
        change_bytes(text, span);
    }
}

static size_t give(const GString *text, uint8_t *data, size_t max_size)
{
    size_t size = MIN(text->len, max_size);

    memcpy(data, text->str, size);
    return size;
}

size_t forge_json(uint8_t *data, size_t size, size_t max_size,
                  unsigned int seed)
{
    uint32_t random = seed * 2654435761u | 1;
    g_autoptr(GString) text = g_string_new_len((char *)data, size);
    int changes = 1 + forge_random(&random, 3);

    if (!forge_random(&random, 32)) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    for (int i = 0; i < changes; i++) {
        change(text, &random);
    }
    return give(text, data, max_size);
}

size_t forge_json_cross(const uint8_t *a, size_t a_size,
                        const uint8_t *b, size_t b_size,
                        uint8_t *out, size_t max_size, unsigned int seed)
{
    uint32_t random = seed * 2654435761u | 1;
    g_autoptr(GString) text = g_string_new_len((const char *)a, a_size);
    Span to = any_span(text->str, a_size, &random), from;

    for (int i = 0; i < 8; i++) {
        from = any_span((const char *)b, b_size, &random);
        if (from.value == to.value) {
            break;
        }
    }
    put(text, to, (const char *)b + from.at, from.end - from.at);
    return give(text, out, max_size);
}
