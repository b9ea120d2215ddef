/*
 * What QEMUs say of themselves, and what two of them agree on, without any
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/negotiate.h"

/* Facts with a device list that a test gives, or with more at the top */
#define HEAD "'qemu': {'version': '7.2.22'}, 'machine': 'pc', " \
             "'stream-versions': [4], 'features': []"
#define FACTS(devices) "{" HEAD ", 'devices': [" devices "]}"
#define COMBINATIONS(list) FACTS("{'name': 'a', 'instance': 0, 'version': 1, " \
                                 "'combinations': [" list "]}")

static MigrationFacts *parse(const char *json)
{
    return migration_facts_parse(json, strlen(json), &error_abort);
}

static void refuse_bytes(const char *json, size_t length, const char *reason)
{
    Error *err = NULL;

    g_assert_null(migration_facts_parse(json, length, &err));
    if (!strstr(error_get_pretty(err), reason)) {
        g_test_message("expected '%s', got '%s'", reason,
                       error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}

static void refuse(const char *json, const char *reason)
{
    refuse_bytes(json, strlen(json), reason);
}

/* Parsing */

static const char all_of_it[] =
    "{'qemu': {'version': '7.2.22', 'package': 'of ours', 'more': 1},"
    " 'machine': 'pc-v4', 'guest-machine': 'pc', 'token': '0123456789aBcDeF',"
    " 'stream-versions': [4, 5], 'unknown': {'deep': [[[[{}]]]]},"
    " 'features': [{'name': 'hand-over'},"
    "              {'name': 'multifd', 'required': true, 'new': null}],"
    " 'devices': ["
    "  {'name': '00.0/e1000', 'instance': 0, 'alias': 'e1000',"
    "   'alias-instance': 3, 'legacy-instance': 4, 'expected': true,"
    "   'version': 2, 'minimum-version': 0, 'minimum-saved-version': 1,"
    "   'needed': true, 'subsections': ["
    "    {'name': 'e1000/mit', 'version': 1, 'optional': true, 'needed': true,"
    "     'subsections': [{'name': 'e1000/mit/deep', 'version': 7}]},"
    "    {'name': 'e1000/tso', 'version': 1, 'future': false}],"
    "   'combinations': [{'structure': 'e1000', 'combinations':"
    "     '[e1000/mit [e1000/tso]]', 'needed': 'e1000/mit | ', 'new': 2}]},"
    "  {'name': 'ram', 'instance': 4294967295, 'version': 4}]}";

static void check_all_of_it(const MigrationFacts *facts)
{
    const MigrationDeviceFacts *device;
    const MigrationCombinationFacts *c;
    const MigrationStateFacts *sub;

    g_assert_cmpstr(facts->qemu_version, ==, "7.2.22");
    g_assert_cmpstr(facts->qemu_package, ==, "of ours");
    g_assert_cmpstr(facts->machine, ==, "pc-v4");
    g_assert_cmpstr(facts->guest_machine, ==, "pc");
    g_assert_true(facts->has_token);
    g_assert_cmphex(facts->token, ==, 0x0123456789abcdefULL);
    g_assert_cmpuint(facts->stream_versions->len, ==, 2);
    g_assert_cmpuint(g_array_index(facts->stream_versions, uint32_t, 1), ==,
                     5);
    g_assert_cmpuint(facts->features->len, ==, 2);
    g_assert_false(migration_facts_find_feature(facts, "hand-over")->required);
    g_assert_true(migration_facts_find_feature(facts, "multifd")->required);
    g_assert_null(migration_facts_find_feature(facts, "none"));

    g_assert_cmpuint(facts->devices->len, ==, 2);
    device = facts->devices->pdata[0];
    g_assert_cmpstr(device->state.name, ==, "00.0/e1000");
    g_assert_cmpuint(device->instance, ==, 0);
    g_assert_cmpstr(device->alias, ==, "e1000");
    g_assert_cmpuint(device->alias_instance, ==, 3);
    g_assert_true(device->has_legacy_instance);
    g_assert_cmpuint(device->legacy_instance, ==, 4);
    g_assert_true(device->expected);
    g_assert_true(device->state.needed);
    g_assert_false(device->state.optional);
    g_assert_cmpuint(device->state.version, ==, 2);
    g_assert_cmpuint(device->state.minimum_version, ==, 0);
    g_assert_cmpuint(device->state.minimum_saved, ==, 1);
    g_assert_cmpuint(device->state.subsections->len, ==, 2);
    g_assert_cmpuint(device->state.combinations->len, ==, 1);
    c = migration_facts_find_combinations(&device->state, "e1000");
    g_assert_cmpint(combinations_find(c->valid, "e1000/tso"), ==, 1);
    g_assert_cmpuint(c->needed->len, ==, 2);
    g_assert_cmphex(g_array_index(c->needed, uint64_t, 0), ==, 1);
    g_assert_cmphex(g_array_index(c->needed, uint64_t, 1), ==, 0);
    g_assert_null(migration_facts_find_combinations(&device->state, "e"));
    sub = migration_facts_find_subsection(&device->state, "e1000/mit");
    g_assert_true(sub->optional);
    g_assert_true(sub->needed);
    g_assert_cmpuint(sub->minimum_version, ==, 1);
    sub = migration_facts_find_subsection(sub, "e1000/mit/deep");
    g_assert_cmpuint(sub->version, ==, 7);
    g_assert_false(sub->optional);
    g_assert_null(migration_facts_find_subsection(sub, "e1000/mit/deep"));

    device = facts->devices->pdata[1];
    g_assert_cmpuint(device->instance, ==, UINT32_MAX);
    g_assert_null(device->alias);
    g_assert_false(device->has_legacy_instance);
    g_assert_false(device->expected);
    g_assert_false(device->state.needed);
    g_assert_cmpuint(device->state.minimum_version, ==, 4);
    g_assert_cmpuint(device->state.minimum_saved, ==, 4);
}

static void test_parse(void)
{
    g_autoptr(MigrationFacts) facts = parse(all_of_it);

    check_all_of_it(facts);
}

static void test_defaults(void)
{
    g_autoptr(MigrationFacts) facts = parse(FACTS());

    g_assert_cmpstr(facts->guest_machine, ==, "pc");
    g_assert_null(facts->qemu_package);
    g_assert_false(facts->has_token);
    g_assert_cmpuint(facts->devices->len, ==, 0);
}

/* What was written is read as it was, and so is what is written of that */
static void test_write(void)
{
    g_autoptr(MigrationFacts) facts = parse(all_of_it), again = NULL;
    g_autoptr(GString) json = migration_facts_to_json(facts), json2 = NULL;

    again = migration_facts_parse(json->str, json->len, &error_abort);
    check_all_of_it(again);
    json2 = migration_facts_to_json(again);
    g_assert_cmpstr(json->str, ==, json2->str);
}

/* The text ends where it is said to, whatever is behind it */
static void test_length(void)
{
    static const char more[] = FACTS() "}}}";
    g_autoptr(MigrationFacts) facts =
        migration_facts_parse(more, strlen(more) - 3, &error_abort);

    g_assert_cmpstr(facts->machine, ==, "pc");
    for (size_t length = 0; length < strlen(all_of_it); length++) {
        /* In memory of its own, for the sanitizer's sake */
        g_autofree char *cut = g_memdup2(all_of_it, length ?: 1);

        refuse_bytes(cut, length, "no proper JSON");
    }
}

/* What the parser quotes does not reach people as it came, nor all of it */
static void test_quotes(void)
{
    g_autofree char *quoted = g_strnfill(4096, '\xff');
    Error *err = NULL;
    size_t length;

    quoted[0] = 't';
    quoted[1] = '\033';
    g_assert_null(migration_facts_parse(quoted, 4096, &err));
    length = strlen(error_get_pretty(err));
    g_assert_cmpuint(length, <, 512);
    g_assert_true(g_utf8_validate(error_get_pretty(err), length, NULL));
    g_assert_null(strchr(error_get_pretty(err), '\033'));
    error_free(err);
}

typedef struct Wrong {
    const char *json;
    const char *reason;
} Wrong;

static const Wrong wrong[] = {
    { "", "the facts are no proper JSON" },
    { " \n", "the facts are no proper JSON" },
    { "{'a': 1", "the facts are no proper JSON" },
    { "{'a': 1, 'a': 2}", "the facts are no proper JSON" },
    { FACTS() FACTS(), "the facts are no proper JSON" },
    { "4", "the facts: expected an object, got a number" },
    { "[]", "the facts: expected an object, got a list" },
    { "null", "the facts: expected an object, got null" },
    { "{}", "qemu: expected an object, got nothing" },
    { "{'qemu': {}}", "qemu.version: expected a string, got nothing" },
    { "{'qemu': {'version': 'a', 'package': []}}",
      "qemu.package: expected a string, got a list" },
    { "{'qemu': {'version': '1'}}", "machine: expected a string, got nothing" },
    { "{'qemu': {'version': '1'}, 'machine': ''}",
      "machine: expected a name of 1 to 255 bytes" },
    { "{'qemu': {'version': '1'}, 'machine': 'a\\u001b'}",
      "machine: expected a name" },
    { "{'qemu': {'version': '1'}, 'machine': 'a\\u0000b'}",
      "machine: expected a name" },
    { "{'qemu': {'version': '1'}, 'machine': 'a\\u009b2J'}",
      "machine: expected a name" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'token': 4}",
      "token: expected a string, got a number" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc',"
      " 'token': '0123456789abcde'}", "token: expected 16 hex" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc',"
      " 'token': '0123456789abcdef0'}", "token: expected 16 hex" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc',"
      " 'token': '-123456789abcdef'}", "token: expected 16 hex" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc'}",
      "stream-versions: expected a list, got nothing" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': [4, '']}",
      "stream-versions[1]: expected a number, got a string" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': [-1]}",
      "stream-versions[0]: expected a whole number from 0 to 4294967295, "
      "got -1" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': []}",
      "features: expected a list, got nothing" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': [],"
      " 'features': [4]}", "features[0]: expected an object, got a number" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': [],"
      " 'features': [{'name': 'a', 'required': 1}]}",
      "features[0].required: expected a boolean, got a number" },
    { "{'qemu': {'version': '1'}, 'machine': 'pc', 'stream-versions': [],"
      " 'features': [{'name': 'a'}, {'name': 'a'}]}",
      "features[1].name: 'a' is there twice" },
    { "{" HEAD "}", "devices: expected a list, got nothing" },
    { "{" HEAD ", 'devices': {}}", "devices: expected a list, got an object" },
    { FACTS("true"), "devices[0]: expected an object, got a boolean" },
    { FACTS("{}"), "devices[0].name: expected a string, got nothing" },
    { FACTS("{'name': 'a'}"),
      "devices[0].instance: expected a number, got nothing" },
    { FACTS("{'name': 'a', 'instance': 0}"),
      "devices[0].version: expected a number, got nothing" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1},"
            "{'name': 'a', 'instance': 0, 'version': '1'}"),
      "devices[1].version: expected a number, got a string" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1.5}"),
      "devices[0].version: expected a whole number from 0 to 4294967295, "
      "got 1.5" },
    { FACTS("{'name': 'a', 'instance': 4294967296, 'version': 1}"),
      "devices[0].instance: expected a whole number" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1,"
            " 'minimum-version': 2}"),
      "devices[0].minimum-version: expected at most the version, 1, got 2" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1,"
            " 'minimum-saved-version': 2}"), "devices[0].minimum-saved-version:"
      " expected at most the version, 1, got 2" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'saved-version': 2}"),
      "devices[0].saved-version: expected at most the version, 1, got 2" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'alias': 'b'}"),
      "devices[0].alias-instance: expected a number, got nothing" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1,"
            " 'legacy-instance': null}"),
      "devices[0].legacy-instance: expected a number, got null" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'needed': 'yes'}"),
      "devices[0].needed: expected a boolean, got a string" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'subsections': 1}"),
      "devices[0].subsections: expected a list, got a number" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'subsections': ["
            " {'name': 'b', 'version': 1, 'subsections': ["
            "  {'name': 'c', 'version': 1}, {'name': 'd'}]}]}"),
      "devices[0].subsections[0].subsections[1].version: expected a number" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'subsections': ["
            " {'name': 'b', 'version': 1}, {'name': 'b', 'version': 1}]}"),
      "devices[0].subsections[1].name: 'b' is there twice" },
    { FACTS("{'name': 'a', 'instance': 0, 'version': 1, 'combinations': 'a'}"),
      "devices[0].combinations: expected a list, got a string" },
    { COMBINATIONS("{'structure': 'a'}"),
      "devices[0].combinations[0].combinations: expected a string, got "
      "nothing" },
    { COMBINATIONS("{'structure': '', 'combinations': '[a]'}"),
      "devices[0].combinations[0].structure: expected a name of 1 to 255 "
      "bytes" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a'}"),
      "devices[0].combinations[0].combinations: combinations, byte 2: expected "
      "']'" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a\\u0000]'}"),
      "devices[0].combinations[0].combinations: combinations, byte 1: expected "
      "a name of 1 to 255 bytes without control characters, got 3 bytes" },
    { COMBINATIONS("{'structure': 'a', 'combinations': 'a | \\u009b2J'}"),
      "devices[0].combinations[0].combinations: combinations, byte 4: expected "
      "a name of 1 to 255 bytes without control characters, got 4 bytes" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a]',"
                   " 'needed': '\\u0007'}"),
      "devices[0].combinations[0].needed: combinations, byte 0: expected a "
      "name" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a]', 'needed': 'b'}"),
      "devices[0].combinations[0].needed: there is no subsection 'b'" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a]', 'needed': ']'}"),
      "devices[0].combinations[0].needed: combinations, byte 0: there is a ']' "
      "too many" },
    { COMBINATIONS("{'structure': 'a', 'combinations': '[a]'},"
                   "{'structure': 'a', 'combinations': '[b]'}"),
      "devices[0].combinations[1].structure: 'a' is there twice" },
};

static void test_wrong(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        refuse(wrong[i].json, wrong[i].reason);
    }
    refuse_bytes("{}\0", 3, "there is a NUL");
    refuse_bytes(NULL, 0, "the facts are no proper JSON");
}

/* As many of @element as there are to be, with commas between */
static char *many(const char *element, unsigned n)
{
    GString *list = g_string_new(n ? element : "");

    for (unsigned i = 1; i < n; i++) {
        g_string_append_c(list, ',');
        g_string_append(list, element);
    }
    return g_string_free(list, false);
}

static void test_limits(void)
{
    g_autofree char *spaces = g_strnfill(MIGRATION_FACTS_SIZE_MAX + 1, ' ');
    g_autofree char *name = g_strnfill(256, 'n');
    g_autofree char *versions = many("4", MIGRATION_FACTS_LIST_MAX + 1);
    g_autofree char *devices = many("0", MIGRATION_FACTS_DEVICES_MAX + 1);
    g_autofree char *json = NULL;
    g_autoptr(GString) deep = g_string_new(NULL);

    refuse_bytes(spaces, MIGRATION_FACTS_SIZE_MAX, "no proper JSON");
    refuse_bytes(spaces, MIGRATION_FACTS_SIZE_MAX + 1,
                 "the facts are too long: expected 16777216 bytes at most, got "
                 "16777217");
    json = g_strdup_printf(FACTS("{'name': '%s', 'instance': 0}"), name);
    refuse(json, "devices[0].name: expected a name of 1 to 255 bytes without "
           "control characters, got 256 bytes");

    g_free(json);
    json = g_strdup_printf("{'qemu': {'version': '1'}, 'machine': 'pc', "
                           "'stream-versions': [%s]}", versions);
    refuse(json, "stream-versions: too many: expected at most 1024, got 1025");

    g_free(json);
    json = g_strdup_printf(FACTS("%s"), devices);
    refuse(json, "devices: too many: expected at most 65536, got 65537");

    for (unsigned i = 0; i < 1500; i++) {
        g_string_append_c(deep, '[');
    }
    refuse(deep->str, "no proper JSON");
}

/* Subsections in subsections, to any depth */
static char *nested(unsigned levels)
{
    GString *json = g_string_new("{" HEAD ", 'devices': [{'name': 'a', "
                                 "'instance': 0, 'version': 1");

    for (unsigned i = 0; i < levels; i++) {
        g_string_append(json, ", 'subsections': [{'name': 'a', 'version': 1");
    }
    for (unsigned i = 0; i < levels; i++) {
        g_string_append(json, "}]");
    }
    g_string_append(json, "}]}");
    return g_string_free(json, false);
}

static void test_depth(void)
{
    g_autofree char *most = nested(MIGRATION_FACTS_DEPTH_MAX - 1);
    g_autofree char *more = nested(MIGRATION_FACTS_DEPTH_MAX);
    g_autoptr(MigrationFacts) facts = parse(most);

    g_assert_cmpuint(facts->devices->len, ==, 1);
    refuse(more, "nested too deep: expected 32 levels at most");
}

/* Agreeing */

static MigrationAgreement *negotiate(const char *source,
                                     const char *destination)
{
    g_autoptr(MigrationFacts) s = parse(source), d = parse(destination);

    return migration_negotiate(s, d);
}

/* One remark, and what it says; or none if @text is NULL */
static void check_remark(const char *source, const char *destination,
                         bool fatal, const char *text)
{
    g_autoptr(MigrationAgreement) a = negotiate(source, destination);
    g_autofree char *got = NULL;
    Error *err = NULL;

    for (unsigned i = 0; !text && i < a->remarks->len; i++) {
        got = migration_remark_to_text(a->remarks->pdata[i]);
        g_test_message("expected nothing, got '%s'", got);
    }
    g_assert_cmpuint(a->remarks->len, ==, text ? 1 : 0);
    g_assert_cmpuint(a->refusals, ==, fatal);
    if (text) {
        got = migration_remark_to_text(a->remarks->pdata[0]);
        g_assert_cmpstr(got, ==, text);
    }
    g_assert_true(migration_agreement_check(a, &err) == !fatal);
    if (fatal) {
        g_autofree char *all = g_strdup_printf("source and destination do not "
                                               "fit: %s", text);

        g_assert_cmpstr(error_get_pretty(err), ==, all);
        error_free(err);
    }
}

static void test_same(void)
{
    g_autoptr(MigrationAgreement) a = negotiate(all_of_it, all_of_it);
    const MigrationChoice *device, *sub;

    g_assert_cmpuint(a->remarks->len, ==, 0);
    g_assert_cmpuint(a->stream_version, ==, 5);
    g_assert_cmpuint(a->features->len, ==, 2);
    g_assert_true(migration_agreement_has_feature(a, "multifd"));
    g_assert_false(migration_agreement_has_feature(a, "none"));
    g_assert_false(migration_agreement_has_feature(NULL, "multifd"));
    g_assert_cmpuint(a->left_off->len, ==, 0);
    g_assert_cmpuint(a->devices->len, ==, 2);
    device = migration_agreement_device(a, "00.0/e1000", 0);
    g_assert_true(device == a->devices->pdata[0]);
    g_assert_cmpuint(device->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(device->version, ==, 2);
    sub = migration_choice_subsection(device, "e1000/mit/deep");
    g_assert_cmpuint(sub->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(sub->version, ==, 7);
    g_assert_null(migration_choice_subsection(device, "none"));
    g_assert_null(migration_agreement_device(a, "00.0/e1000", 1));
    g_assert_null(migration_agreement_device(a, "e1000", 3));
}

#define HEADER(machine, versions, features) \
    "{'qemu': {'version': '1'}, 'machine': '" machine "', " \
    "'stream-versions': [" versions "], 'features': [" features "], " \
    "'devices': []}"

static void test_stream_version(void)
{
    g_autoptr(MigrationAgreement) a =
        negotiate(HEADER("pc", "6, 4, 5, 9", ""),
                  HEADER("pc", "5, 7, 6, 4", ""));

    g_assert_cmpuint(a->stream_version, ==, 6);
    check_remark(HEADER("pc", "4, 5", ""), HEADER("pc", "6", ""), true,
                 "there is no version of the stream in common: the source "
                 "speaks '4, 5', the destination '6'");
    check_remark(HEADER("pc", "", ""), HEADER("pc", "4", ""), true,
                 "there is no version of the stream in common: the source "
                 "speaks '', the destination '4'");
}

static void test_machine(void)
{
    check_remark(HEADER("q35", "4", ""), HEADER("pc", "4", ""), true,
                 "the source is a machine of type 'q35', the destination is "
                 "a 'pc'");
    /* To the guest they are the same */
    check_remark(HEADER("pc-v4', 'guest-machine': 'pc", "4", ""),
                 HEADER("pc", "4", ""), false, NULL);
}

static void test_features(void)
{
    static const char none[] = HEADER("pc", "4", "");
    static const char optional[] = HEADER("pc", "4", "{'name': 'x'}");
    static const char required[] =
        HEADER("pc", "4", "{'name': 'x', 'required': true}");
    g_autoptr(MigrationAgreement) a = negotiate(optional, required);
    g_autoptr(MigrationAgreement) b = negotiate(optional, none);

    g_assert_cmpuint(a->remarks->len, ==, 0);
    g_assert_cmpuint(a->features->len, ==, 1);
    g_assert_cmpstr(a->features->pdata[0], ==, "x");
    g_assert_cmpuint(b->features->len, ==, 0);
    g_assert_cmpstr(b->left_off->pdata[0], ==, "x");
    g_assert_false(migration_agreement_has_feature(b, "x"));
    check_remark(optional, none, false, "feature 'x' of the source is left "
                 "off: the destination does not offer it");
    check_remark(none, optional, false, "feature 'x' of the destination is "
                 "left off: the source does not offer it");
    check_remark(required, none, true, "feature 'x' is required by the source "
                 "and not offered by the destination");
    check_remark(none, required, true, "feature 'x' is required by the "
                 "destination and not offered by the source");
}

#define DEVICE(more) "{'name': 'a', 'instance': 2, 'version': 1" more "}"
#define UNKNOWN "device 'a' (instance 2): the device is unknown to the " \
                "destination"

static void test_unknown_device(void)
{
    g_autoptr(MigrationAgreement) a =
        negotiate(FACTS(DEVICE(", 'optional': true")), FACTS());
    const MigrationChoice *choice = migration_agreement_device(a, "a", 2);

    g_assert_cmpuint(choice->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(choice->version, ==, 1);
    check_remark(FACTS(DEVICE(", 'needed': true")), FACTS(), true,
                 UNKNOWN " and is needed");
    check_remark(FACTS(DEVICE()), FACTS(), false,
                 UNKNOWN " and is not needed now; the migration fails if it "
                 "is needed when it is saved");
    check_remark(FACTS(DEVICE(", 'needed': true, 'optional': true")), FACTS(),
                 false, UNKNOWN ", which skips it");
}

static void test_missing_device(void)
{
    check_remark(FACTS(), FACTS(DEVICE()), false, NULL);
    check_remark(FACTS(), FACTS(DEVICE(", 'needed': true")), false, NULL);
    check_remark(FACTS(), FACTS(DEVICE(", 'expected': true")), true,
                 "device 'a' (instance 2): the destination expects its state, "
                 "and the source has no such device");
    check_remark(FACTS(), FACTS(DEVICE(", 'expected': true, "
                                       "'optional': true")), false, NULL);
    check_remark(FACTS(DEVICE()), FACTS(DEVICE(", 'expected': true")), false,
                 "device 'a' (instance 2): its state is not sent as it is "
                 "now, and the destination expects it");
}

/* Which device of the destination, by its version, is that of the source? */
static void check_pair(const char *source, const char *destination,
                       uint32_t version)
{
    g_autoptr(MigrationAgreement) a = negotiate(source, destination);
    const MigrationChoice *choice = a->devices->pdata[0];

    g_assert_cmpuint(choice->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(choice->version, ==, version);
}

#define OLD(name, instance, version, more) \
    "{'name': '" name "', 'instance': " #instance ", 'version': " #version \
    ", 'minimum-version': 0" more "}"

static void test_pairs(void)
{
    static const char source[] = FACTS(OLD("a", 2, 9, ""));

    check_pair(source, FACTS(OLD("a", 1, 5, "") "," OLD("a", 2, 6, "")), 6);
    check_pair(source, FACTS(OLD("b", 2, 5, "") "," OLD("x/a", 0, 6,
               ", 'alias': 'a', 'alias-instance': 2")), 6);
    check_pair(source, FACTS(OLD("a", 0, 5, ", 'legacy-instance': 2")), 5);
    check_pair(source, FACTS(OLD("x/a", 0, 6, ", 'alias': 'a', "
               "'alias-instance': 1, 'legacy-instance': 2")), 6);
    /* The own name comes before any other */
    check_pair(source, FACTS(OLD("x/a", 0, 6, ", 'alias': 'a', "
               "'alias-instance': 2") "," OLD("a", 2, 7, "")), 7);
    check_remark(source, FACTS(OLD("a", 1, 5, "")), false,
                 UNKNOWN " and is not needed now; the migration fails if it "
                 "is needed when it is saved");
}

/* Names may come twice: each finds one that is still free */
static void test_twice(void)
{
    static const char two[] = FACTS(OLD("a", 2, 1, ", 'needed': true") ","
                                    OLD("a", 2, 1, ", 'needed': true"));
    static const char one[] = FACTS(OLD("a", 2, 1, ", 'needed': true"));

    check_remark(two, two, false, NULL);
    check_remark(one, two, false, NULL);
    check_remark(FACTS(OLD("a", 2, 9, "") "," OLD("a", 2, 9, "")),
                 FACTS(OLD("a", 2, 9, "") "," OLD("a", 2, 9, "")), false,
                 NULL);
    check_remark(one, FACTS(OLD("a", 2, 1, ", 'expected': true") ","
                            OLD("a", 2, 1, ", 'expected': true")), true,
                 "device 'a' (instance 2): the destination expects its state, "
                 "and the source has no such device");
    /* A name of a device that is taken already leads nowhere */
    check_remark(FACTS(OLD("x/a", 0, 1, "") "," OLD("a", 2, 1, "")),
                 FACTS(OLD("x/a", 0, 1, ", 'alias': 'a', "
                           "'alias-instance': 2")), false,
                 UNKNOWN " and is not needed now; the migration fails if it "
                 "is needed when it is saved");
}

static void test_twice_at_two_versions(void)
{
    g_autoptr(MigrationAgreement) a =
        negotiate(FACTS(OLD("a", 2, 9, "") "," OLD("a", 2, 9, "")),
                  FACTS(OLD("a", 2, 9, "") "," OLD("a", 2, 8, "")));
    Error *err = NULL;

    g_assert_false(migration_agreement_check(a, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "source and destination do not "
                    "fit: device 'a' (instance 2): there are two of this "
                    "name, and the destination needs them at different "
                    "versions");
    error_free(err);
}

#define RANGE(minimum, version, more) \
    FACTS("{'name': 'a', 'instance': 2, 'needed': true, 'minimum-version': " \
          #minimum ", 'version': " #version more "}")

static void check_version(const char *source, const char *destination,
                          uint32_t version)
{
    g_autoptr(MigrationAgreement) a = negotiate(source, destination);
    const MigrationChoice *choice = migration_agreement_device(a, "a", 2);

    g_assert_cmpuint(choice->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(choice->version, ==, version);
}

static void test_versions(void)
{
    check_version(RANGE(1, 3, ""), RANGE(2, 3, ""), 3);
    check_version(RANGE(1, 3, ""), RANGE(2, 7, ""), 3);
    check_version(RANGE(1, 3, ""), RANGE(0, 1, ""), 1);
    check_remark(RANGE(1, 3, ""), RANGE(2, 7, ""), false, NULL);
    check_remark(RANGE(1, 3, ""), RANGE(1, 2, ""), false,
                 "device 'a' (instance 2): its state is sent at version 2: "
                 "the source saves versions 1 to 3, the destination loads 1 "
                 "to 2");
    check_remark(RANGE(3, 4, ""), RANGE(1, 2, ""), true,
                 "device 'a' (instance 2): its state has no version in "
                 "common, the source saves versions 3 to 4, the destination "
                 "loads 1 to 2, and is needed");
    check_remark(RANGE(1, 2, ""), RANGE(3, 4, ""), true,
                 "device 'a' (instance 2): its state has no version in "
                 "common, the source saves versions 1 to 2, the destination "
                 "loads 3 to 4, and is needed");
    check_remark(RANGE(3, 4, ", 'optional': true"), RANGE(1, 2, ""), false,
                 "device 'a' (instance 2): its state has no version in "
                 "common, the source saves versions 3 to 4, the destination "
                 "loads 1 to 2, and is left off");
}

/* What can be loaded of old, but is saved no more */
static void test_saved_versions(void)
{
    static const char source[] =
        RANGE(1, 4, ", 'minimum-saved-version': 3");

    check_version(source, RANGE(1, 3, ""), 3);
    check_version(RANGE(1, 3, ""), source, 3);
    check_version(RANGE(1, 1, ""), source, 1);
    check_remark(source, RANGE(1, 2, ""), true,
                 "device 'a' (instance 2): its state has no version in "
                 "common, the source saves versions 3 to 4, the destination "
                 "loads 1 to 2, and is needed");
}

#define SUBS(list) RANGE(1, 1, ", 'subsections': [" list "]")
#define SUB(name, more) "{'name': '" name "', 'version': 1" more "}"

static MigrationFate fate_of(const char *source, const char *destination,
                             const char *name)
{
    g_autoptr(MigrationAgreement) a = negotiate(source, destination);

    return migration_choice_subsection(migration_agreement_device(a, "a", 2),
                                       name)->fate;
}

static void test_subsections(void)
{
    static const char needed[] = SUBS(SUB("a/b", ", 'needed': true"));
    static const char unneeded[] = SUBS(SUB("a/b", ""));
    static const char optional[] =
        SUBS(SUB("a/b", ", 'needed': true, 'optional': true"));
    static const char none[] = SUBS(SUB("a/c", ""));

    check_remark(needed, unneeded, false, NULL);
    check_remark(none, SUBS(SUB("a/c", "") "," SUB("a/b", "")), false, NULL);
    check_remark(needed, none, true, "device 'a' (instance 2): subsection "
                 "'a/b' is unknown to the destination and is needed");
    check_remark(unneeded, none, false, "device 'a' (instance 2): subsection "
                 "'a/b' is unknown to the destination and is not needed now; "
                 "the migration fails if it is needed when it is saved");
    check_remark(optional, none, false, "device 'a' (instance 2): subsection "
                 "'a/b' is unknown to the destination and is left off");
    g_assert_cmpuint(fate_of(needed, needed, "a/b"), ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(fate_of(needed, none, "a/b"), ==, MIGRATION_FATE_REFUSED);
    g_assert_cmpuint(fate_of(unneeded, none, "a/b"), ==,
                     MIGRATION_FATE_REFUSED);
    g_assert_cmpuint(fate_of(optional, none, "a/b"), ==,
                     MIGRATION_FATE_LEFT_OFF);
}

#define WITH(combinations) RANGE(1, 1, ", 'subsections': [" \
    SUB("a/x", "") "," SUB("a/y", ", 'optional': true") "]" \
    ", 'combinations': [{'structure': 'a', 'combinations': " \
    combinations "}]")

/* What is needed is valid on both sides, or does not go */
static void test_combinations(void)
{
    static const char both[] = WITH("'a/x a/y', 'needed': 'a/x a/y'");
    static const char some[] =
        WITH("'[a/x] [a/y]', 'needed': 'a/x | a/x a/y | '");
    static const char unknown[] = WITH("'a/x | a/y'");
    static const char none[] = RANGE(1, 1, ", 'subsections': ["
                                     SUB("a/x", "") "," SUB("a/y", "") "]");
    static const char no_y[] =
        RANGE(1, 1, ", 'subsections': [" SUB("a/x", "") "]"
              ", 'combinations': [{'structure': 'a', 'combinations': 'a/x'}]");
    static const char other[] =
        WITH("'a/x', 'needed': 'a/x'}, {'structure': 'b', "
             "'combinations': '[b/x]', 'needed': 'b/x'");

    /* In another order, with more, and where one side does not say */
    check_remark(both, WITH("'[a/z] a/y [a/x]'"), false, NULL);
    check_remark(both, none, false, NULL);
    check_remark(none, both, false, NULL);
    check_remark(unknown, both, false, NULL);
    check_remark(other, WITH("'a/x'"), false, NULL);
    check_remark(both, unknown, true, "device 'a' (instance 2): subsections of "
                 "'a' do not go together: expected 'a/x | a/y', got 'a/x + "
                 "a/y', on the destination");
    check_remark(some, WITH("'[a/x [a/y]]'"), false, NULL);
    check_remark(some, WITH("'a/x [a/y]'"), true, "device 'a' (instance 2): "
                 "subsections of 'a' do not go together: expected "
                 "'a/x [a/y]', got 'none', on the destination");
    /* What is left off is not part of it */
    check_remark(both, no_y, false, "device 'a' (instance 2): subsection "
                 "'a/y' is unknown to the destination and is left off");
    check_remark(WITH("'a/x | a/y', 'needed': 'a/x a/y'"), none, true,
                 "device 'a' (instance 2): subsections of 'a' do not go "
                 "together: expected 'a/x | a/y', got 'a/x + a/y', on the "
                 "source itself");
}

static void test_check(void)
{
    g_autoptr(MigrationFacts) good =
        parse(WITH("'[a/x [a/y]]', 'needed': '| a/x | a/x a/y'"));
    g_autoptr(MigrationFacts) bad =
        parse(WITH("'[a/x [a/y]]', 'needed': 'a/x | a/y'"));
    Error *err = NULL;

    g_assert_true(migration_facts_check(good, &err));
    g_assert_null(err);
    g_assert_false(migration_facts_check(bad, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "device 'a' (instance 2): "
                    "subsections of 'a' do not go together: expected "
                    "'[a/x [a/y]]', got 'a/y'");
    error_free(err);
}

static void test_subsection_versions(void)
{
    g_autoptr(MigrationAgreement) a =
        negotiate(SUBS("{'name': 'b', 'version': 3, 'minimum-version': 1}"),
                  SUBS("{'name': 'b', 'version': 2, 'minimum-version': 1}"));
    const MigrationChoice *sub =
        migration_choice_subsection(migration_agreement_device(a, "a", 2),
                                    "b");

    g_assert_cmpuint(sub->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(sub->version, ==, 2);
    g_assert_cmpuint(a->remarks->len, ==, 1);
    check_remark(SUBS("{'name': 'b', 'version': 3}"),
                 SUBS("{'name': 'b', 'version': 2}"), false,
                 "device 'a' (instance 2): subsection 'b' has no version in "
                 "common, the source saves versions 3 to 3, the destination "
                 "loads 2 to 2, and is not needed now; the migration fails if "
                 "it is needed when it is saved");
}

/* Of a subsection that is not sent, what is in it makes no difference */
static void test_nested_subsections(void)
{
    static const char source[] =
        SUBS(SUB("b", ", 'subsections': [" SUB("c", ", 'needed': true") "]"));

    check_remark(source, source, false, NULL);
    check_remark(source, SUBS(SUB("b", "")), true,
                 "device 'a' (instance 2): subsection 'c' is unknown to the "
                 "destination and is needed");
    check_remark(source, SUBS(SUB("b", "") "," SUB("c", "")), true,
                 "device 'a' (instance 2): subsection 'c' is unknown to the "
                 "destination and is needed");
    check_remark(source, SUBS(""), false,
                 "device 'a' (instance 2): subsection 'b' is unknown to the "
                 "destination and is not needed now; the migration fails if "
                 "it is needed when it is saved");
}

/* One that is in two places goes only if both know it */
static void test_subsection_in_two_places(void)
{
    static const char both[] =
        SUBS(SUB("b", ", 'subsections': [" SUB("x", ", 'optional': true") "]")
             "," SUB("c", ", 'subsections': [" SUB("x", ", 'optional': true")
                     "]"));
    static const char first[] =
        SUBS(SUB("b", ", 'subsections': [" SUB("x", "") "]") ","
             SUB("c", ""));
    static const char second[] =
        SUBS(SUB("b", "") ","
             SUB("c", ", 'subsections': [" SUB("x", "") "]"));

    g_assert_cmpuint(fate_of(both, both, "x"), ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(fate_of(both, first, "x"), ==, MIGRATION_FATE_LEFT_OFF);
    g_assert_cmpuint(fate_of(both, second, "x"), ==, MIGRATION_FATE_LEFT_OFF);
}

#define TWO_PLACES(b, c) \
    SUBS(SUB("b", ", 'subsections': [{'name': 'x', " b "}]") "," \
         SUB("c", ", 'subsections': [{'name': 'x', " c "}]"))

/* And at a version that can be in each of them */
/* What the source was asked for is the most that is sent */
static void test_saved_version(void)
{
    static const char asked[] = RANGE(1, 3, ", 'saved-version': 2");

    check_version(asked, RANGE(1, 3, ""), 2);
    check_version(asked, RANGE(1, 1, ""), 1);
    check_version(RANGE(1, 3, ""), asked, 3);
    check_version(RANGE(0, 3, ", 'saved-version': 0"), RANGE(0, 3, ""), 0);
    check_remark(asked, RANGE(1, 3, ""), false,
                 "device 'a' (instance 2): its state is sent at version 2: it "
                 "is asked for; the source saves versions 1 to 2, the "
                 "destination loads 1 to 3");
    check_remark(asked, RANGE(3, 3, ""), true,
                 "device 'a' (instance 2): its state has no version in "
                 "common, the source saves versions 1 to 2, the destination "
                 "loads 3 to 3, and is needed");
}

static void test_versions_in_two_places(void)
{
    static const char source[] =
        TWO_PLACES("'version': 5, 'minimum-version': 1",
                   "'version': 5, 'minimum-version': 1");
    static const char apart[] = TWO_PLACES("'version': 5", "'version': 3");
    g_autoptr(MigrationAgreement) a =
        negotiate(source, TWO_PLACES("'version': 5, 'minimum-version': 2",
                                     "'version': 3"));
    const MigrationChoice *x =
        migration_choice_subsection(migration_agreement_device(a, "a", 2),
                                    "x");

    g_assert_cmpuint(x->fate, ==, MIGRATION_FATE_SENT);
    g_assert_cmpuint(x->version, ==, 3);
    g_assert_cmpuint(fate_of(source, apart, "x"), ==, MIGRATION_FATE_REFUSED);
    g_clear_pointer(&a, migration_agreement_free);
    a = negotiate(source, apart);
    g_assert_cmpuint(a->refusals, ==, 1);
}

/* Twenty devices too many: all are counted, some are told */
static void test_many_refusals(void)
{
    g_autoptr(GString) json = g_string_new("{" HEAD ", 'devices': [");
    g_autoptr(MigrationAgreement) a = NULL;
    Error *err = NULL;

    for (unsigned i = 0; i < 20; i++) {
        g_string_append_printf(json, "%s{'name': 'a', 'instance': %u, "
                               "'version': 1, 'needed': true}",
                               i ? "," : "", i);
    }
    g_string_append(json, "]}");
    a = negotiate(json->str, FACTS());
    g_assert_cmpuint(a->refusals, ==, 20);
    g_assert_false(migration_agreement_check(a, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "(instance 15)"));
    g_assert_null(strstr(error_get_pretty(err), "(instance 16)"));
    g_assert_true(g_str_has_suffix(error_get_pretty(err), "; and 4 more"));
    error_free(err);
}

/* As much as fits, all of one name: each still finds its own */
static void test_many_devices(void)
{
    static const char one[] = "{'name': 'a', 'instance': 0, 'version': 1}";
    g_autofree char *list = many(one, MIGRATION_FACTS_DEVICES_MAX / 4);
    g_autofree char *json = g_strdup_printf(FACTS("%s"), list);
    g_autoptr(MigrationAgreement) a = negotiate(json, json);

    g_assert_cmpuint(a->devices->len, ==, MIGRATION_FACTS_DEVICES_MAX / 4);
    g_assert_cmpuint(a->remarks->len, ==, 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } tests[] = {
        { "parse", test_parse },
        { "parse/defaults", test_defaults },
        { "parse/length", test_length },
        { "parse/quotes", test_quotes },
        { "parse/wrong", test_wrong },
        { "parse/limits", test_limits },
        { "parse/depth", test_depth },
        { "write", test_write },
        { "negotiate/same", test_same },
        { "negotiate/stream-version", test_stream_version },
        { "negotiate/machine", test_machine },
        { "negotiate/features", test_features },
        { "negotiate/unknown-device", test_unknown_device },
        { "negotiate/missing-device", test_missing_device },
        { "negotiate/pairs", test_pairs },
        { "negotiate/twice", test_twice },
        { "negotiate/twice/versions", test_twice_at_two_versions },
        { "negotiate/versions", test_versions },
        { "negotiate/saved-version", test_saved_version },
        { "negotiate/versions/saved", test_saved_versions },
        { "negotiate/subsections", test_subsections },
        { "negotiate/subsections/versions", test_subsection_versions },
        { "negotiate/combinations", test_combinations },
        { "check", test_check },
        { "negotiate/subsections/nested", test_nested_subsections },
        { "negotiate/subsections/two-places", test_subsection_in_two_places },
        { "negotiate/subsections/two-places/versions",
          test_versions_in_two_places },
        { "negotiate/many-refusals", test_many_refusals },
        { "negotiate/many-devices", test_many_devices },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("/migration/facts/%s",
                                                tests[i].name);

        g_test_add_func(path, tests[i].function);
    }
    return g_test_run();
}
