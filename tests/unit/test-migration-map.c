/*
 * Migration stream version 4: state that is changed on its way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "migration/stream/map.h"
#include "stream-device.h"

typedef struct Inner {
    uint8_t byte;
} Inner;

typedef struct Device {
    uint16_t narrow;
    int32_t negative;
    uint32_t several[3];
    Inner inner;
    Inner more[2];
    uint64_t sub;
} Device;

static const VMStateDescription vmstate_inner = {
    .name = "inner",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(byte, Inner),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_sub = {
    .name = "device/sub",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64(sub, Device),
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription vmstate_device = {
    .name = "device",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT16(narrow, Device),
        VMSTATE_INT32(negative, Device),
        VMSTATE_UINT32_ARRAY(several, Device, 3),
        VMSTATE_STRUCT(inner, Device, 1, vmstate_inner, Inner),
        VMSTATE_STRUCT_ARRAY(more, Device, 2, 1, vmstate_inner, Inner),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *[]) { &vmstate_sub, NULL },
};

static const Device sample = {
    .narrow = 0xbeef, .negative = -2, .several = { 1, 2, 0xffffffff },
    .inner.byte = 0x11, .more = { { 0x22 }, { 0x33 } },
    .sub = 0x123456789abcdef0,
};

/* What is changed: widths in bytes by a field's name, and two names */
static struct {
    unsigned narrow, negative, several;
    bool names;
    unsigned passed;
} change;

static void map_start(void)
{
}

static const char *map_name(const char *section, bool subsection,
                            const char *name, bool passes)
{
    const char *from = subsection ? "device/sub" : "inner";
    const char *to = subsection ? "device/other" : "outer";

    g_assert_cmpstr(section, ==, "00.0/device");
    /* What is left alone goes through as well */
    if (change.names && g_str_equal(name, from)) {
        change.passed += passes;
        return to;
    }
    return change.names && g_str_equal(name, to) ? from : name;
}

static const char *map_source_name(const char *section, const char *name)
{
    return name;
}

static unsigned map_width(const char *section, const char *structure,
                          const char *field, unsigned here, bool saving,
                          Error **errp)
{
    const struct {
        const char *name;
        unsigned width;
    } widths[] = {
        { "narrow", change.narrow }, { "negative", change.negative },
        { "several", change.several },
    };

    g_assert_cmpstr(section, ==, "00.0/device");
    for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
        if (g_str_equal(widths[i].name, field) && widths[i].width) {
            g_assert_cmpstr(structure, ==, "device");
            return widths[i].width;
        }
    }
    return here;
}

static bool map_drops(const char *section)
{
    return false;
}

static bool map_check(Error **errp)
{
    return true;
}

static const StreamMap map = {
    map_start, map_name, map_source_name, map_width, map_drops, map_check,
};

/* Saves the sample; NULL with @why set, if that failed */
static QIOChannelBuffer *save(char **why)
{
    StreamIdent ident = { .version_id = 1, .name = "00.0/device" };
    Device from = sample;

    return save_device(ident, &vmstate_device, &from, NULL, why);
}

/* Loads what save() saved, and frees it; @why is set if that failed */
static Device load(QIOChannelBuffer *buffer, char **why)
{
    Device to = { 0 };
    char *reason = load_device(buffer, &vmstate_device, &to);

    if (why) {
        *why = reason;
    } else {
        g_assert_cmpstr(reason, ==, NULL);
    }
    return to;
}

static void begin(unsigned narrow, unsigned negative, unsigned several,
                  bool names)
{
    change.narrow = narrow;
    change.negative = negative;
    change.several = several;
    change.names = names;
    change.passed = 0;
    migration_stream_set_map(&map);
}

static bool equal(const Device *a, const Device *b)
{
    return a->narrow == b->narrow && a->negative == b->negative &&
           !memcmp(a->several, b->several, sizeof(a->several)) &&
           a->inner.byte == b->inner.byte &&
           !memcmp(a->more, b->more, sizeof(a->more)) && a->sub == b->sub;
}

/* There, with more or fewer bytes, and back again */
static void check(int more)
{
    QIOChannelBuffer *buffer, *plain;
    size_t length;
    Device got;

    buffer = save(NULL);
    length = buffer->usage;
    got = load(buffer, NULL);
    g_assert_true(equal(&got, &sample));

    migration_stream_set_map(NULL);
    plain = save(NULL);
    g_assert_cmpint(length, ==, plain->usage + more);
    object_unref(OBJECT(plain));
}

static void test_wider(void)
{
    begin(8, 8, 0, false);
    check(6 + 4);
    begin(0, 0, 8, false);
    check(3 * 4);
}

static void test_narrower(void)
{
    begin(0, 1, 0, false);
    check(-3);
}

static void test_names(void)
{
    begin(0, 0, 0, true);
    check(2);
    /* The structure, the array and the subsection, when they were saved */
    g_assert_cmpuint(change.passed, ==, 3);
}

static void test_refused_saving(void)
{
    char *why = NULL;

    begin(1, 0, 0, false);
    g_assert_null(save(&why));
    g_assert_cmpstr(why, ==, "the value of 'narrow' does not fit: expected at "
                    "most 8 bits, got 0xbeef");
    g_free(why);
}

static void test_refused_loading(void)
{
    QIOChannelBuffer *buffer;
    char *why = NULL;

    /* As a source has it that is wider: a number of this width and the next */
    migration_stream_set_map(NULL);
    buffer = save(NULL);
    begin(8, 0, 0, false);
    load(buffer, &why);
    g_assert_nonnull(strstr(why, "the value of 'narrow' does not fit: expected "
                            "at most 16 bits"));
    g_free(why);
}

static void test_names_unknown(void)
{
    QIOChannelBuffer *buffer;
    char *why = NULL;

    begin(0, 0, 0, true);
    buffer = save(NULL);
    migration_stream_set_map(NULL);
    load(buffer, &why);
    g_assert_true(g_str_has_suffix(why, ": inner: expected structure 'inner', "
                                   "got structure 'outer'"));
    g_free(why);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-map/wider", test_wider);
    g_test_add_func("/migration-map/narrower", test_narrower);
    g_test_add_func("/migration-map/names", test_names);
    g_test_add_func("/migration-map/refused-saving", test_refused_saving);
    g_test_add_func("/migration-map/refused-loading", test_refused_loading);
    g_test_add_func("/migration-map/names-unknown", test_names_unknown);
    return g_test_run();
}
