/*
 * Migration stream version 4: only subsections that go together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "migration/compat/whitelist.h"
#include "stream-device.h"

typedef struct Device {
    bool a, b, c;               /* is the subsection needed? */
    bool when_prepared;         /* c, too, but only for saving */
    bool loaded;
} Device;

#define SUBSECTION(name_)                                                   \
    static bool name_##_needed(void *opaque)                                \
    {                                                                       \
        return ((Device *)opaque)->name_;                                   \
    }                                                                       \
                                                                            \
    static const VMStateDescription vmstate_##name_ = {                     \
        .name = "device/" #name_,                                           \
        .version_id = 1,                                                    \
        .minimum_version_id = 1,                                            \
        .needed = name_##_needed,                                           \
        .fields = (VMStateField[]) {                                        \
            VMSTATE_BOOL(name_, Device),                                    \
            VMSTATE_END_OF_LIST()                                           \
        },                                                                  \
    }

SUBSECTION(a);
SUBSECTION(b);
SUBSECTION(c);

static int device_pre_save(void *opaque)
{
    Device *d = opaque;

    d->c |= d->when_prepared;
    return 0;
}

static int device_post_load(void *opaque, int version_id)
{
    ((Device *)opaque)->loaded = true;
    return 0;
}

static const VMStateDescription *subsections[] = {
    &vmstate_a, &vmstate_b, &vmstate_c, NULL
};

#define DEVICE(name_, combinations_)                                        \
    static const VMStateDescription name_ = {                               \
        .name = "device",                                                   \
        .version_id = 1,                                                    \
        .minimum_version_id = 1,                                            \
        .pre_save = device_pre_save,                                        \
        .post_load = device_post_load,                                      \
        .fields = (VMStateField[]) { VMSTATE_END_OF_LIST() },               \
        .subsections = subsections,                                         \
        .combinations = combinations_,                                      \
    }

DEVICE(vmstate_nested, "[a [b]] [c]");
DEVICE(vmstate_either, "a b | c");
DEVICE(vmstate_any, NULL);

static bool has(const Device *d, const char *names)
{
    return d->a == !!strchr(names, 'a') && d->b == !!strchr(names, 'b') &&
           d->c == !!strchr(names, 'c');
}

static Device device(const char *names)
{
    return (Device) {
        .a = strchr(names, 'a'), .b = strchr(names, 'b'),
        .c = strchr(names, 'c'),
    };
}

/* Saves a device; NULL with @why set, if that failed */
static QIOChannelBuffer *save(const VMStateDescription *vmsd, Device *from,
                              char **why)
{
    StreamIdent ident = {
        .instance_id = 7, .version_id = 1, .name = "00.0/device",
    };

    return save_device(ident, vmsd, from, NULL, why);
}

static void check_saved(const VMStateDescription *vmsd, const char *names)
{
    Device from = device(names), to = { 0 };
    QIOChannelBuffer *buffer = save(vmsd, &from, NULL);
    g_autofree char *why = load_device(buffer, vmsd, &to);

    g_assert_null(why);
    g_assert_true(to.loaded);
    g_assert_true(has(&to, names));
}

static void check_refused(const VMStateDescription *vmsd, Device from,
                          const char *expected, const char *got)
{
    g_autofree char *why = NULL;
    g_autofree char *words =
        g_strdup_printf("device '00.0/device' (instance 7): subsections of "
                        "'device' do not go together: expected '%s', got '%s'",
                        expected, got);

    g_assert_null(save(vmsd, &from, &why));
    g_assert_cmpstr(why, ==, words);
}

#define EITHER "device/a device/b | device/c"

static void test_save(void)
{
    static const char *const all[] = {
        "", "a", "b", "c", "ab", "ac", "bc", "abc",
    };
    static const struct {
        const VMStateDescription *vmsd;
        const char *text;
        unsigned valid;         /* a bit for each of all */
    } whitelists[] = {
        { &vmstate_nested, "[device/a [device/b]] [device/c]", 0xbb },
        { &vmstate_either, EITHER, 0x18 },
        { &vmstate_any, NULL, 0xff },
    };
    static const char *const sets[] = {
        "none", "device/a", "device/b", "device/c", "device/a + device/b",
        "device/a + device/c", "device/b + device/c",
        "device/a + device/b + device/c",
    };

    for (int i = 0; i < ARRAY_SIZE(whitelists); i++) {
        for (int k = 0; k < ARRAY_SIZE(all); k++) {
            if (whitelists[i].valid >> k & 1) {
                check_saved(whitelists[i].vmsd, all[k]);
            } else {
                check_refused(whitelists[i].vmsd, device(all[k]),
                              whitelists[i].text, sets[k]);
            }
        }
    }
}

/* What counts is what is needed when the device is prepared */
static void test_prepared(void)
{
    Device from = { .a = true, .b = true, .when_prepared = true };

    check_refused(&vmstate_either, from, EITHER,
                  "device/a + device/b + device/c");
}

/* The other side may say something else; its post_load() sees nothing */
static void test_load(void)
{
    Device from = device("b"), to = { 0 };
    QIOChannelBuffer *buffer = save(&vmstate_any, &from, NULL);
    g_autofree char *why = load_device(buffer, &vmstate_nested, &to);

    g_assert_nonnull(why);
    g_assert_nonnull(strstr(why, "subsections of 'device' do not go together: "
                            "expected '[device/a [device/b]] [device/c]', "
                            "got 'device/b'"));
    g_assert_nonnull(strstr(why, "'00.0/device' (instance 7)"));
    g_assert_false(to.loaded);
}

static const char *left_off;

static int choose(const char *section, uint32_t instance_id,
                  const char *subsection, int version_id, Error **errp)
{
    return g_strcmp0(subsection, left_off) ? version_id : STREAM_LEAVE_OFF;
}

/* What is left off is not part of the set */
static void test_left_off(void)
{
    Device from = device("abc"), to = { 0 };
    QIOChannelBuffer *buffer;
    g_autofree char *why = NULL;

    migration_stream_set_choose(choose);
    left_off = "device/c";
    buffer = save(&vmstate_either, &from, &why);
    g_assert_nonnull(buffer);
    g_assert_null(load_device(buffer, &vmstate_either, &to));
    g_assert_true(has(&to, "ab"));
    left_off = "device/a";
    check_refused(&vmstate_nested, device("ab"),
                  "[device/a [device/b]] [device/c]", "device/b");
    migration_stream_set_choose(NULL);
}

/* Version 3 saves what it always did */
static void test_version_3(void)
{
    Device from = device("b");

    g_assert_cmpuint(size_in_version_3(&vmstate_nested, &from), ==,
                     2 + strlen("device/b") + 4 + 1);
}

/* Descriptions that are wrong, and where that is found */

DEVICE(wrong_name, "[a] [b] [c] [d]");
DEVICE(wrong_missing, "[a] [b]");
DEVICE(wrong_twice, "[a] [a b] [c]");

static const VMStateDescription *twice[] = { &vmstate_a, &vmstate_a, NULL };

static const VMStateDescription wrong_list = {
    .name = "device",
    .fields = (VMStateField[]) { VMSTATE_END_OF_LIST() },
    .subsections = twice,
};

static const VMStateDescription *within[] = { &wrong_name, NULL };

static const VMStateDescription in_subsection = {
    .name = "outer",
    .fields = (VMStateField[]) { VMSTATE_END_OF_LIST() },
    .subsections = within,
    .combinations = "[device]",
};

static const VMStateDescription in_field = {
    .name = "outer",
    .fields = (VMStateField[]) {
        { .name = "device", .vmsd = &wrong_missing, .flags = VMS_STRUCT },
        VMSTATE_END_OF_LIST()
    },
};

static const VMStateDescription no_subsections = {
    .name = "device",
    .fields = (VMStateField[]) { VMSTATE_END_OF_LIST() },
    .combinations = "[a]",
};

static void test_register(void)
{
    static const struct {
        const VMStateDescription *vmsd;
        const char *error;
    } wrong[] = {
        { &wrong_name, "byte 13: there is no subsection 'd'" },
        { &wrong_missing, "byte 7: subsection 'device/c' is in no "
          "combination" },
        { &wrong_twice, "byte 8: subsection 'device/a' stands twice in one "
          "combination" },
        { &wrong_list, "byte 0: there are two subsections 'device/a'" },
        { &in_subsection, "byte 13: there is no subsection 'd'" },
        { &in_field, "byte 7: subsection 'device/c' is in no combination" },
        { &no_subsections, "byte 1: there is no subsection 'a'" },
    };
    Error *err = NULL;

    for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_autofree char *words =
            g_strdup_printf("structure 'device': combinations, %s",
                            wrong[i].error);

        g_assert_false(migration_whitelist_register(wrong[i].vmsd, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, words);
        error_free(err);
        err = NULL;
    }
    for (int twice_over = 0; twice_over < 2; twice_over++) {
        g_assert_true(migration_whitelist_register(&vmstate_nested, NULL));
        g_assert_true(migration_whitelist_register(&vmstate_any, NULL));
    }
}

/* One that nobody has registered is found wrong when it is saved or loaded */
static void test_unregistered(void)
{
    Device from = device("a"), to = { 0 };
    g_autofree char *why = NULL, *loaded = NULL;

    g_assert_null(save(&wrong_missing, &from, &why));
    g_assert_nonnull(strstr(why, "'device/c' is in no combination"));
    loaded = load_device(save(&vmstate_any, &from, NULL), &wrong_missing, &to);
    g_assert_nonnull(strstr(loaded, "'device/c' is in no combination"));
    g_assert_false(to.loaded);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-whitelist/save", test_save);
    g_test_add_func("/migration-whitelist/prepared", test_prepared);
    g_test_add_func("/migration-whitelist/load", test_load);
    g_test_add_func("/migration-whitelist/left-off", test_left_off);
    g_test_add_func("/migration-whitelist/version-3", test_version_3);
    g_test_add_func("/migration-whitelist/register", test_register);
    g_test_add_func("/migration-whitelist/unregistered", test_unregistered);
    return g_test_run();
}
