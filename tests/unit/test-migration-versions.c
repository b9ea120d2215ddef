/*
 * Migration stream version 4: state of older versions, there and back
 *
 * The processor of "A register that was forgotten" of
 * docs/devel/migration-v4/devices.rst, and the parts that follow a structure.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "migration/stream/older.h"
#include "stream-device.h"

/* Saves @opaque at a version; NULL with @why set if that fails */
static QIOChannelBuffer *save(const VMStateDescription *vmsd, void *opaque,
                              int version_id, char **why)
{
    StreamIdent ident = { .version_id = version_id };

    pstrcpy(ident.name, sizeof(ident.name), vmsd->name);
    return save_device(ident, vmsd, opaque, NULL, why);
}

/* A processor, two registers of which were forgotten in a release */

typedef struct Processor {
    uint64_t pc;
    uint64_t msr[2];            /* what was forgotten */
    uint32_t mode;              /* what the next release adds; a reset has 1 */
} Processor;

static bool msrs_needed(void *opaque)
{
    Processor *p = opaque;

    return p->msr[0] || p->msr[1];
}

static const VMStateDescription vmstate_msrs = {
    .name = "processor/msrs",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = msrs_needed,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64_ARRAY(msr, Processor, 2),
        VMSTATE_END_OF_LIST()
    },
};

/* 1.0, which forgets them */
static const VMStateDescription vmstate_1_0 = {
    .name = "processor",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64(pc, Processor),
        VMSTATE_END_OF_LIST()
    },
};

/* 1.0.1, which must not change more than that */
static const VMStateDescription vmstate_1_0_1 = {
    .name = "processor",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64(pc, Processor),
        VMSTATE_END_OF_LIST()
    },
    .combinations = "[msrs]",
    .subsections = (const VMStateDescription *[]) { &vmstate_msrs, NULL },
};

static int processor_post_load(void *opaque, int version_id)
{
    Processor *p = opaque;

    if (version_id < 2) {
        p->mode = 1;
    }
    return 0;
}

static const char *processor_lost(void *opaque, int version_id)
{
    Processor *p = opaque;

    return p->mode != 1 ? "'mode', which is not 1" : NULL;
}

/* 2.0, which was under way meanwhile, and had taken version 2 */
static const VMStateDescription vmstate_2_0 = {
    .name = "processor",
    .version_id = 2,
    .minimum_version_id = 1,
    .post_load = processor_post_load,
    .lost = processor_lost,
    .fields = (VMStateField[]) {
        VMSTATE_UINT64(pc, Processor),
        VMSTATE_UINT32_V(mode, Processor, 2),
        VMSTATE_END_OF_LIST()
    },
    .combinations = "[msrs]",
    .subsections = (const VMStateDescription *[]) { &vmstate_msrs, NULL },
};

static const Processor plain = { .pc = 0x1000, .mode = 1 };
static const Processor with_msrs = { 0x1000, { 0x11, 0x22 }, 1 };
static const Processor with_mode = { 0x1000, { 0x11, 0x22 }, 3 };

/* What @from says at @version_id is on the other side, but for what is not */
static void goes(const VMStateDescription *from, int version_id,
                 const Processor *processor, const VMStateDescription *to,
                 const Processor *expected)
{
    Processor here = *processor, there = { .mode = 1 };
    g_autofree char *why = NULL;
    QIOChannelBuffer *saved = save(from, &here, version_id, &why);
    g_autofree char *why_not = NULL;

    g_assert_cmpstr(why, ==, NULL);
    why_not = load_device(saved, to, &there);
    g_assert_cmpstr(why_not, ==, NULL);
    g_assert_cmpmem(&there, sizeof(there), expected, sizeof(*expected));
}

static void is_refused(const VMStateDescription *from, int version_id,
                       const Processor *processor,
                       const VMStateDescription *to, const char *expected)
{
    Processor here = *processor, there = { 0 };
    g_autofree char *why = NULL;
    QIOChannelBuffer *saved = save(from, &here, version_id, &why);

    if (saved) {
        why = load_device(saved, to, &there);
    }
    g_assert_nonnull(why);
    g_assert_nonnull(strstr(why, expected));
}

static void test_forwards(void)
{
    goes(&vmstate_1_0, 1, &plain, &vmstate_1_0_1, &plain);
    goes(&vmstate_1_0, 1, &plain, &vmstate_2_0, &plain);
    goes(&vmstate_1_0_1, 1, &with_msrs, &vmstate_2_0, &with_msrs);
    goes(&vmstate_2_0, 2, &with_mode, &vmstate_2_0, &with_mode);
}

static void test_back(void)
{
    /* A guest that does without them goes wherever it came from */
    goes(&vmstate_1_0_1, 1, &plain, &vmstate_1_0, &plain);
    goes(&vmstate_2_0, 1, &plain, &vmstate_1_0, &plain);
    goes(&vmstate_2_0, 1, &with_msrs, &vmstate_1_0_1, &with_msrs);
}

static void test_not_back(void)
{
    is_refused(&vmstate_1_0_1, 1, &with_msrs, &vmstate_1_0,
               "subsection 'processor/msrs' is unknown and not optional: "
               "'processor' has none");
    is_refused(&vmstate_2_0, 2, &plain, &vmstate_1_0_1,
               "'processor' is of another version: expected 1 to 1, got 2");
    is_refused(&vmstate_2_0, 1, &with_mode, &vmstate_1_0_1,
               "'processor' cannot be saved at version 1: the guest would "
               "lose 'mode', which is not 1");
}

/* Parts of a structure */

typedef struct Inner {
    uint8_t old;
    uint8_t new;
} Inner;

typedef struct Outer {
    Inner one, made_by_hand;
    Inner several[2];
    Inner framed[2];
    uint8_t extra;
} Outer;

static const VMStateField inner_fields[] = {
    VMSTATE_UINT8(old, Inner),
    VMSTATE_UINT8_V(new, Inner, 3),
    VMSTATE_END_OF_LIST()
};

static const VMStateDescription vmstate_one = {
    .name = "one", .version_id = 3, .minimum_version_id = 1,
    .fields = inner_fields,
};

static const VMStateDescription vmstate_several = {
    .name = "several", .version_id = 3, .minimum_version_id = 1,
    .fields = inner_fields,
};

static bool never(void *opaque)
{
    return false;
}

static const VMStateDescription vmstate_never = {
    .name = "framed/never", .version_id = 1, .minimum_version_id = 1,
    .needed = never,
    .fields = inner_fields,
};

static const VMStateDescription vmstate_framed = {
    .name = "framed", .version_id = 3, .minimum_version_id = 1,
    .fields = inner_fields,
    .subsections = (const VMStateDescription *[]) { &vmstate_never, NULL },
};

static bool extra_needed(void *opaque)
{
    return ((Outer *)opaque)->extra;
}

static const VMStateDescription vmstate_extra = {
    .name = "outer/extra", .version_id = 2, .minimum_version_id = 1,
    .needed = extra_needed,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8(extra, Outer),
        VMSTATE_END_OF_LIST()
    },
};

static int put_by_hand(QEMUFile *f, void *pv, size_t size,
                       const VMStateField *field, JSONWriter *vmdesc)
{
    return vmstate_save_state(f, &vmstate_one, pv, vmdesc);
}

static int get_by_hand(QEMUFile *f, void *pv, size_t size,
                       const VMStateField *field)
{
    return vmstate_load_state(f, &vmstate_one, pv, 3);
}

static const VMStateInfo info_by_hand = {
    .name = "by hand",
    .get = get_by_hand,
    .put = put_by_hand,
};

static const VMStateOlder outer_older[] = {
    { 1, "outer/extra", VMSTATE_OLDER_NONE },
    { 2, "outer/extra", 1 },
    { 2, "one", 2 },
    { 1, "one", 1 },
    { 2, "several", 2 },
    { 2, "framed", 2 },
    VMSTATE_OLDER_END_OF_LIST()
};

static const VMStateDescription vmstate_outer = {
    .name = "outer", .version_id = 3, .minimum_version_id = 1,
    .older = outer_older,
    .fields = (VMStateField[]) {
        VMSTATE_STRUCT(one, Outer, 1, vmstate_one, Inner),
        VMSTATE_SINGLE(made_by_hand, Outer, 1, info_by_hand, Inner),
        VMSTATE_STRUCT_ARRAY(several, Outer, 2, 1, vmstate_several, Inner),
        VMSTATE_STRUCT_ARRAY(framed, Outer, 2, 1, vmstate_framed, Inner),
        VMSTATE_END_OF_LIST()
    },
    .subsections = (const VMStateDescription *[]) { &vmstate_extra, NULL },
};

static void test_part_versions(void)
{
    static const struct {
        int version_id, one, several, extra;
    } rows[] = {
        { 3, 3, 3, 2 }, { 2, 2, 2, 1 }, { 1, 1, 2, VMSTATE_OLDER_NONE },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        int v = rows[i].version_id;

        g_assert_cmpint(vmstate_older_part(&vmstate_outer, v, "one", 3), ==,
                        rows[i].one);
        g_assert_cmpint(vmstate_older_part(&vmstate_outer, v, "several", 3),
                        ==, rows[i].several);
        g_assert_cmpint(vmstate_older_part(&vmstate_outer, v, "outer/extra",
                                           2), ==, rows[i].extra);
        g_assert_cmpint(vmstate_older_part(&vmstate_outer, v, "other", 7), ==,
                        7);
    }
}

/* Parts are saved, and loaded, without what they did not have then */
static void test_parts(void)
{
    Outer from = { { 1, 0 }, { 2, 0 }, { { 3, 0 }, { 4, 0 } },
                   { { 5, 0 }, { 6, 0 } }, 7 };
    Inner *parts[] = {
        &from.one, &from.made_by_hand, &from.several[1], &from.framed[1],
    };
    static const char *const names[] = { "one", "one", "several", "framed" };

    for (int v = 3; v; v--) {
        g_autofree char *why = NULL, *why_not = NULL;
        Outer to = { .one.new = 9, .several = { { 0, 9 }, { 0, 9 } } };
        uint8_t kept = v < 3 ? 9 : 0;
        QIOChannelBuffer *saved;

        from.extra = v > 1 ? 7 : 0;
        saved = save(&vmstate_outer, &from, v, &why);
        g_assert_cmpstr(why, ==, NULL);
        why_not = load_device(saved, &vmstate_outer, &to);
        g_assert_cmpstr(why_not, ==, NULL);
        g_assert_cmpint(to.one.new, ==, kept);
        g_assert_cmpint(to.several[0].new, ==, kept);
        g_assert_cmpint(to.several[1].new, ==, kept);
        to.one.new = to.several[0].new = to.several[1].new = 0;
        g_assert_cmpmem(&to, sizeof(to), &from, sizeof(from));
    }
    for (int i = 0; i < ARRAY_SIZE(parts); i++) {
        g_autofree char *expected = g_strdup_printf(
            "'%s' cannot be saved at version 2: the guest would lose 'new'",
            names[i]);
        g_autofree char *why = NULL;

        parts[i]->new = 1;
        g_assert_null(save(&vmstate_outer, &from, 2, &why));
        g_assert_nonnull(strstr(why, expected));
        parts[i]->new = 0;
    }
}

static void test_no_subsection(void)
{
    Outer from = { .extra = 7 };
    g_autofree char *why = NULL;

    g_assert_null(save(&vmstate_outer, &from, 1, &why));
    g_assert_cmpstr(why, ==, "device 'outer' (instance 0): subsection "
                    "'outer/extra' is needed now, and 'outer' had none at "
                    "version 1");
}

/* What is lost, of each kind of field */

typedef struct Element {
    QTAILQ_ENTRY(Element) next;
} Element;

typedef struct Kinds {
    uint8_t number;
    uint32_t array[4];
    Inner structure;
    Inner *pointer;
    unsigned long *bitmap;
    int32_t bits;
    QTAILQ_HEAD(, Element) list;
} Kinds;

static const VMStateDescription vmstate_element = {
    .name = "element", .version_id = 1,
    .fields = (VMStateField[]) { VMSTATE_END_OF_LIST() },
};

static const VMStateDescription vmstate_kinds = {
    .name = "kinds", .version_id = 2, .minimum_version_id = 1,
    .fields = (VMStateField[]) {
        VMSTATE_UINT8_V(number, Kinds, 2),
        VMSTATE_UINT32_ARRAY_V(array, Kinds, 4, 2),
        VMSTATE_STRUCT(structure, Kinds, 2, vmstate_one, Inner),
        VMSTATE_STRUCT_POINTER_V(pointer, Kinds, 2, vmstate_one, Inner),
        VMSTATE_BITMAP(bitmap, Kinds, 2, bits),
        VMSTATE_QTAILQ_V(list, Kinds, 2, vmstate_element, Element, next),
        VMSTATE_UNUSED_V(2, 4),
        VMSTATE_END_OF_LIST()
    },
};

/* Nothing is lost but what @at holds */
static void loses(Kinds *kinds, void *at, const char *name)
{
    g_autofree char *expected = g_strdup_printf("'%s'", name);
    g_autofree char *before = vmstate_lost(&vmstate_kinds, kinds, 1);
    g_autofree char *lost = NULL, *newest = NULL;

    g_assert_cmpstr(before, ==, NULL);
    *(uint8_t *)at = 1;
    lost = vmstate_lost(&vmstate_kinds, kinds, 1);
    newest = vmstate_lost(&vmstate_kinds, kinds, 2);
    *(uint8_t *)at = 0;
    g_assert_cmpstr(lost, ==, expected);
    g_assert_cmpstr(newest, ==, NULL);
}

static void test_lost(void)
{
    Inner pointed = { 0 };
    unsigned long bits[2] = { 0 };
    Kinds kinds = { .pointer = &pointed, .bitmap = bits, .bits = 100 };
    Element element;
    g_autofree char *all = NULL;

    QTAILQ_INIT(&kinds.list);
    loses(&kinds, &kinds.number, "number");
    loses(&kinds, &kinds.array[3], "array");
    loses(&kinds, &kinds.structure.new, "structure");
    loses(&kinds, &pointed.old, "pointer");
    loses(&kinds, &bits[1], "bitmap");
    QTAILQ_INSERT_TAIL(&kinds.list, &element, next);
    kinds.number = 1;
    all = vmstate_lost(&vmstate_kinds, &kinds, 1);
    g_assert_cmpstr(all, ==, "'number', 'list'");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/migration-versions/msrs/forwards", test_forwards);
    g_test_add_func("/migration-versions/msrs/back", test_back);
    g_test_add_func("/migration-versions/msrs/not-back", test_not_back);
    g_test_add_func("/migration-versions/part-versions", test_part_versions);
    g_test_add_func("/migration-versions/parts", test_parts);
    g_test_add_func("/migration-versions/no-subsection", test_no_subsection);
    g_test_add_func("/migration-versions/lost", test_lost);
    return g_test_run();
}
