/*
 * Which of the subsections in a file are loaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"
#include "migration/compat/spare.h"
#include "migration/stream/lookahead.h"
#include "migration/stream/writer.h"

/*
 * A thing as a QEMU of today has it, and as builds before and after might.  A
 * file has what was stored of it, and what was needed.
 */
#define QEMU(devices)                                                       \
    "{ 'qemu': { 'version': '7.2' }, 'machine': 'm', "                      \
    "'stream-versions': [ 4 ], 'features': [], 'devices': [ " devices " ] }"
#define THING(more)                                                         \
    QEMU("{ 'name': 'thing', 'instance': 0, 'version': 1" more " }")
#define SUB(name, more) "{ 'name': 'thing/" name "', 'version': 1" more " }"
#define VALID(text)                                                         \
    ", 'combinations': [ { 'structure': 'thing', 'combinations': '" text "' } ]"
#define STORED(parts, needed)                                               \
    ", 'stored': [ { 'structure': 'thing', 'subsections': [ " parts " ], "  \
    "'needed': [ " needed " ] } ]"

#define SUBS_A ", 'subsections': [ " SUB("a", "") " ]"
#define SUBS_AB ", 'subsections': [ " SUB("a", "") ", " SUB("b", "") " ]"
#define SUBS_ABC ", 'subsections': [ " SUB("a", "") ", " SUB("b", "") ", "  \
    SUB("c", "") " ]"
#define PARTS_AB SUB("a", "") ", " SUB("b", "")

#define NESTED "'stored': [ { 'structure': 'inner', 'subsections': "       \
    "[ { 'name': 'inner/x', 'version': 1 } ], 'needed': [ ['inner/x'] ] } ]"

static const struct {
    const char *name;
    const char *file;
    const char *here;
    const char *usable;         /* of the parts, one letter each */
    const char *refused[4];     /* words of the refusal; none if it is loaded */
} checks[] = {
    {
        "today", THING(SUBS_AB VALID("[thing/a] [thing/b]")
                       STORED(PARTS_AB, "[]")),
        THING(SUBS_AB VALID("[thing/a] [thing/b]")), "yy",
    }, {
        "older: it knows one of two", THING(SUBS_AB VALID("[thing/a [thing/b]]")
                                            STORED(PARTS_AB, "['thing/a']")),
        THING(SUBS_A VALID("[thing/a]")), "y-",
    }, {
        "older: it knows none", THING(SUBS_AB VALID("[thing/a] [thing/b]")
                                      STORED(PARTS_AB, "[]")),
        THING(""), "--",
    }, {
        "older: it does not know what is needed",
        THING(SUBS_AB VALID("[thing/a [thing/b]]")
              STORED(PARTS_AB, "['thing/a', 'thing/b']")),
        THING(SUBS_A VALID("[thing/a]")), "y-",
        { "device 'thing' (instance 0)", "needs thing/a + thing/b",
          "on the source: [thing/a [thing/b]]", "this side: [thing/a]" },
    }, {
        "older: one of several is needed, and is not known",
        THING(SUBS_AB VALID("[thing/a] [thing/b]")
              STORED(PARTS_AB, "[], ['thing/a'], ['thing/b']")),
        THING(SUBS_A VALID("[thing/a]")), "y-", { "needs thing/b," },
    }, {
        "older: what it does not know is optional",
        THING(", 'subsections': [ " SUB("a", "") ", "
              SUB("b", ", 'optional': true") " ]"
              STORED(PARTS_AB, "['thing/a', 'thing/b']")),
        THING(SUBS_A VALID("[thing/a]")), "y-",
    }, {
        "newer: two go together only with a third, which was stored",
        THING(SUBS_ABC VALID("[thing/a] [thing/b] [thing/c]")
              STORED(PARTS_AB ", " SUB("c", ""), "['thing/a', 'thing/b']")),
        THING(SUBS_ABC VALID("| thing/a thing/b thing/c")), "yyy",
    }, {
        "newer: the third was not stored",
        THING(SUBS_ABC VALID("[thing/a] [thing/b] [thing/c]")
              STORED(PARTS_AB, "['thing/a', 'thing/b']")),
        THING(SUBS_ABC VALID("| thing/a thing/b thing/c")), "yy",
        { "needs thing/a + thing/b", "this side: | thing/a thing/b thing/c" },
    }, {
        "newer: the third was stored sometimes",
        THING(SUBS_ABC
              STORED(PARTS_AB ", " SUB("c", ", 'sometimes': true"),
                     "['thing/a', 'thing/b']")),
        THING(SUBS_ABC VALID("| thing/a thing/b thing/c")), "yyy",
        { "needs thing/a + thing/b", "on the source: any" },
    }, {
        "newer: it has to have one", THING(STORED("", "[]")),
        THING(SUBS_A VALID("thing/a")), "",
        { "needs no subsection", "this side: thing/a" },
    }, {
        "all of its combinations are foreign",
        THING(SUBS_AB VALID("thing/a | thing/b")
              STORED(PARTS_AB, "['thing/a']")),
        THING(SUBS_AB VALID("| thing/b | thing/a thing/b")), "yy",
    }, {
        "all of its combinations are foreign, and one is not stored",
        THING(SUBS_AB VALID("thing/a | thing/b")
              STORED(SUB("a", ""), "['thing/a']")),
        THING(SUBS_AB VALID("| thing/b | thing/a thing/b")), "y",
        { "needs thing/a", "on the source: thing/a | thing/b",
          "this side: | thing/b | thing/b thing/a" },
    }, {
        "a spare one of another version",
        THING(SUBS_AB STORED("{ 'name': 'thing/a', 'version': 2 }, "
                             SUB("b", ""), "[]")),
        THING(SUBS_AB VALID("[thing/a] [thing/b]")), "-y",
    }, {
        "a needed one of another version",
        THING(SUBS_A STORED("{ 'name': 'thing/a', 'version': 2 }",
                            "['thing/a']")),
        THING(SUBS_A VALID("[thing/a]")), "-",
        { "needs subsection 'thing/a', which is of another version",
          "expected 1 to 1, got 2" },
    }, {
        "a device that is not here",
        QEMU("{ 'name': 'other', 'instance': 0, 'version': 1"
             STORED(SUB("a", ""), "['thing/a']") " }"),
        THING(""), "-",
    }, {
        "a device under its other name",
        QEMU("{ 'name': 'old', 'instance': 3, 'version': 1"
             STORED(SUB("a", ""), "['thing/a']") " }"),
        THING(", 'alias': 'old', 'alias-instance': 3" SUBS_A), "y",
    }, {
        "what is in a spare one is foreign",
        THING(SUBS_A STORED("{ 'name': 'thing/a', 'version': 1, " NESTED " }",
                            "[]")),
        THING(", 'subsections': [ { 'name': 'thing/a', 'version': 1, "
              "'subsections': [ { 'name': 'inner/y', 'version': 1 } ] } ]"),
        "-",
    }, {
        "what is in a needed one is foreign",
        THING(SUBS_A STORED("{ 'name': 'thing/a', 'version': 1, " NESTED " }",
                            "['thing/a']")),
        THING(", 'subsections': [ { 'name': 'thing/a', 'version': 1, "
              "'subsections': [ { 'name': 'inner/y', 'version': 1 } ] } ]"),
        "-", { "'inner' needs inner/x" },
    }, {
        "nobody knows what is in a needed one",
        THING(SUBS_A STORED("{ 'name': 'thing/a', 'version': 1, " NESTED " }",
                            "['thing/a']")),
        THING(SUBS_A), "y",
    },
};

/* JSON in C has the other quotes */
static MigrationFacts *parse(const char *text, Error **errp)
{
    g_autofree char *json = g_strdup(text);

    g_strdelimit(json, "'", '"');
    return migration_facts_parse(json, strlen(json), errp);
}

static void test_check(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        g_autoptr(MigrationFacts) file = parse(checks[i].file, &error_abort);
        g_autoptr(MigrationFacts) here = parse(checks[i].here, &error_abort);
        const MigrationDeviceFacts *device = file->devices->pdata[0];
        const StreamStored *stored = device->stored->pdata[0];
        g_autoptr(GString) usable = g_string_new(NULL);
        Error *err = NULL;
        bool good = migration_spare_check(file, here, &err);

        g_test_message("%s", checks[i].name);
        for (unsigned n = 0; n < stored->parts->len; n++) {
            const StreamStoredPart *part = stored->parts->pdata[n];

            g_string_append_c(usable, part->usable ? 'y' : '-');
        }
        g_assert_cmpstr(usable->str, ==, checks[i].usable);
        g_assert_cmpint(good, ==, !checks[i].refused[0]);
        for (int n = 0; n < 4 && checks[i].refused[n]; n++) {
            if (!strstr(error_get_pretty(err), checks[i].refused[n])) {
                g_test_message("'%s' is not in: %s", checks[i].refused[n],
                               error_get_pretty(err));
                g_test_fail();
            }
        }
        error_free(err);
    }
}

enum { A = 1, B = 2, C = 4 };

static const struct {
    const char *valid;
    uint64_t needed, available, set;    /* set: ~0 if there is none */
} choices[] = {
    { "[a] [b] [c]", 0, A | B | C, A | B | C },
    { "[a] [b] [c]", A, B, A | B },
    { "[a [b [c]]]", A, C, A },
    { "[a [b [c]]]", A, B | C, A | B | C },
    { "a | b | c", 0, A | B | C, A },
    { "a | b | c", B, A | C, B },
    { "a | b c", A, B | C, A },
    { "a | b c", 0, A | B | C, B | C },
    { "a b | [c]", A, C, ~0ULL },
    { "a b | [c]", 0, 0, 0 },
    { "a b c", 0, A | B, ~0ULL },
};

static void test_choose(void)
{
    static const char *const names[] = { "a", "b", "c" };
    uint64_t set;

    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        g_autoptr(Combinations) c = combinations_parse(choices[i].valid, names,
                                                       3, &error_abort);

        if (!migration_spare_choose(c, choices[i].needed,
                                    choices[i].available, &set)) {
            set = ~0ULL;
        }
        g_assert_cmphex(set, ==, choices[i].set);
    }
    /* Who says nothing takes all */
    g_assert(migration_spare_choose(NULL, A, C, &set));
    g_assert_cmphex(set, ==, A | C);
}

/* What is in a file comes from anywhere */
static const struct {
    const char *file;
    const char *refused;
} hostile[] = {
    { THING(", 'stored': 1"), "expected a list, got a number" },
    { THING(", 'stored': [ 1 ]"), "expected an object" },
    { THING(", 'stored': [ {} ]"), "structure" },
    { THING(", 'stored': [ { 'structure': 'thing' } ]"), "subsections" },
    { THING(", 'stored': [ { 'structure': 'thing', 'subsections': [] } ]"),
      "needed" },
    { THING(STORED("{ 'version': 1 }", "")), "name" },
    { THING(STORED("{ 'name': 'thing/a' }", "")), "version" },
    { THING(STORED("{ 'name': 'thing/a', 'version': -1 }", "")),
      "a whole number from 0" },
    { THING(STORED(SUB("a", "") ", " SUB("a", ""), "")), "is there twice" },
    { THING(STORED(SUB("a", ", 'sometimes': 1"), "")), "expected a boolean" },
    { THING(STORED(SUB("a", ""), "1")), "expected a list" },
    { THING(STORED(SUB("a", ""), "['thing/b']")),
      "names of subsections that are stored" },
    { THING(STORED(SUB("a", ""), "[1]")), "got a number" },
    { THING(", 'stored': [ { 'structure': 't', 'subsections': [], "
            "'needed': [] }, { 'structure': 't', 'subsections': [], "
            "'needed': [] } ]"), "is there twice" },
};

static void test_hostile(void)
{
    g_autoptr(GString) many = g_string_new(NULL);
    g_autofree char *deep = NULL;
    Error *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
        err = NULL;
        g_assert(!parse(hostile[i].file, &err));
        if (!strstr(error_get_pretty(err), hostile[i].refused)) {
            g_test_message("'%s' is not in: %s", hostile[i].refused,
                           error_get_pretty(err));
            g_test_fail();
        }
        error_free(err);
    }
    for (int i = 0; i <= STREAM_STORED_PARTS_MAX; i++) {
        g_string_append_printf(many, "%s{ 'name': 's%d', 'version': 1 }",
                               i ? ", " : "", i);
    }
    deep = g_strdup_printf(THING(STORED("%s", "")), many->str);
    err = NULL;
    g_assert(!parse(deep, &err));
    g_assert(strstr(error_get_pretty(err), "too many: expected at most 64"));
    error_free(err);
}

/* As JSON and back */
static void test_json(void)
{
    g_autoptr(MigrationFacts) file = parse(
        THING(SUBS_A STORED("{ 'name': 'thing/a', 'version': 1, "
                            "'sometimes': true, " NESTED " }",
                            "[], ['thing/a']")), &error_abort);
    GString *json = migration_facts_to_json(file);
    g_autoptr(MigrationFacts) again = migration_facts_parse(json->str,
                                                            json->len,
                                                            &error_abort);
    GString *same = migration_facts_to_json(again);

    g_assert(strstr(json->str, "\"sometimes\": true"));
    g_assert(strstr(json->str, "\"needed\": [[], [\"thing/a\"]]"));
    g_assert(strstr(json->str, "\"inner/x\""));
    g_assert_cmpstr(json->str, ==, same->str);
    g_string_free(json, true);
    g_string_free(same, true);
}

/* A file in memory */
typedef struct File {
    GByteArray *bytes;
    size_t at;
    size_t read;            /* bytes that were asked for */
} File;

static bool file_write(void *opaque, const void *data, size_t length,
                       Error **errp)
{
    g_byte_array_append(((File *)opaque)->bytes, data, length);
    return true;
}

static ssize_t file_read(void *opaque, void *data, size_t length, Error **errp)
{
    File *file = opaque;
    size_t left = file->at < file->bytes->len ? file->bytes->len - file->at : 0;
    size_t n = MIN(length, left);

    memcpy(data, file->bytes->data + MIN(file->at, file->bytes->len), n);
    file->at += n;
    file->read += n;
    return n;
}

static bool file_hop(void *opaque, size_t length, Error **errp)
{
    ((File *)opaque)->at += length;
    return true;
}

#define MEMORY (1024 * 1024)

static void put(StreamWriter *w, uint16_t type, uint16_t flags, uint32_t id,
                const char *name, const void *data, size_t length)
{
    StreamIdent ident = { .version_id = 1 };

    if (name) {
        g_strlcpy(ident.name, name, sizeof(ident.name));
    }
    stream_writer_begin(w, type, flags, id, name ? &ident : NULL);
    g_assert(stream_writer_append(w, data, length, &error_abort));
    g_assert(stream_writer_end(w, &error_abort));
}

/* With memory, a device, and facts so many times */
static void make_file(File *file, int facts)
{
    g_autofree uint8_t *memory = g_malloc0(MEMORY);
    StreamWriter *w;

    *file = (File) { .bytes = g_byte_array_new() };
    w = stream_writer_new(file_write, file);
    g_assert(stream_writer_preamble(w, &error_abort));
    put(w, STREAM_RECORD_MACHINE, 0, 0, NULL, "{}", 2);
    put(w, STREAM_RECORD_MACHINE_END, 0, 0, NULL, "", 0);
    put(w, STREAM_RECORD_CONFIGURATION, 0, 0, NULL, "c", 1);
    put(w, STREAM_RECORD_SECTION_START, 0, 1, "memory", "s", 1);
    put(w, STREAM_RECORD_SECTION_PART, 0, 1, NULL, memory, MEMORY);
    put(w, STREAM_RECORD_SECTION_END, 0, 1, NULL, "e", 1);
    put(w, STREAM_RECORD_SECTION_FULL, 0, 2, "device", "state", 5);
    while (facts--) {
        put(w, STREAM_RECORD_FACTS, STREAM_FLAG_OPTIONAL, 0, NULL, "facts", 5);
    }
    g_assert(stream_writer_put_index(w, &error_abort));
    put(w, STREAM_RECORD_END, 0, 0, NULL, "", 0);
    stream_writer_free(w);
}

/* Looks through it, and says what there is to say */
static char *look(File *file, GByteArray *facts)
{
    uint32_t version;
    Error *err = NULL;
    char *text;

    file->at = file->read = 0;
    g_byte_array_set_size(facts, 0);
    if (stream_look_ahead(file_read, file_hop, file, &version, facts, &err)) {
        return version == STREAM_VERSION ? NULL : g_strdup("version");
    }
    text = g_strdup(error_get_pretty(err));
    error_free(err);
    return text;
}

static void test_look(void)
{
    g_autoptr(GByteArray) facts = g_byte_array_new();
    g_autofree char *twice = NULL;
    File file;

    make_file(&file, 1);
    g_assert(!look(&file, facts));
    g_assert_cmpuint(facts->len, ==, 5);
    g_assert(!memcmp(facts->data, "facts", 5));
    /* What was hopped over was not read */
    g_assert_cmpuint(file.read, <, file.bytes->len - MEMORY);

    /* Each byte but those of the memory is looked at */
    for (size_t at = STREAM_PREAMBLE_SIZE; at < file.bytes->len;) {
        const uint8_t *wire = file.bytes->data + at;
        size_t end = at + STREAM_HEADER_SIZE + ldl_be_p(wire + 8);
        bool hops = lduw_be_p(wire) == STREAM_RECORD_SECTION_PART ||
                    lduw_be_p(wire) == STREAM_RECORD_SECTION_END;

        for (size_t i = at; i < end; i += i < at + 99 ? 1 : 9999) {
            g_autofree char *said = NULL;

            file.bytes->data[i] ^= 1;
            said = look(&file, facts);
            file.bytes->data[i] ^= 1;
            g_assert_cmpint(!said, ==, hops && i >= at + STREAM_HEADER_SIZE);
        }
        at = end;
    }

    /* A file that ends too early, in the memory or behind it */
    for (size_t length = file.bytes->len; length--;
         length -= MIN(length, 4999)) {
        g_autofree char *said = NULL;

        g_byte_array_set_size(file.bytes, length);
        said = look(&file, facts);
        g_assert(said);
    }
    g_byte_array_unref(file.bytes);

    make_file(&file, 0);
    g_assert(!look(&file, facts));
    g_assert_cmpuint(facts->len, ==, 0);
    g_byte_array_unref(file.bytes);

    make_file(&file, 2);
    twice = look(&file, facts);
    g_assert(twice && strstr(twice, "it comes twice"));
    g_byte_array_unref(file.bytes);
}

/* What is noted while it is saved */
static void test_stored(void)
{
    g_autoptr(GPtrArray) sections = stream_stored_sections_new();
    GPtrArray *inside = stream_stored_get_section(sections, "thing", 1);
    StreamStored *stored = stream_stored_get(inside, "thing");
    StreamStoredPart *part;
    int a = stream_stored_add_part(stored, "a", 1);
    int b = stream_stored_add_part(stored, "b", 1);

    g_assert_cmpint(stream_stored_part(stored, "b"), ==, b);
    g_assert_cmpint(stream_stored_part(stored, "c"), ==, -1);
    g_assert(stream_stored_get(inside, "thing") == stored);
    g_assert(stream_stored_get_section(sections, "thing", 1) == inside);
    g_assert(!stream_stored_section(sections, "thing", 2));
    stored->times = 2;
    part = stored->parts->pdata[a];
    part->times = 2;
    part = stored->parts->pdata[b];
    part->times = 1;
    stream_stored_finish(sections);
    g_assert(part->sometimes);
    part = stored->parts->pdata[a];
    g_assert(!part->sometimes);
    stream_stored_need(stored, 1);
    stream_stored_need(stored, 1);
    g_assert_cmpuint(stored->needed->len, ==, 1);
    for (int i = 0; i < STREAM_STORED_PARTS_MAX; i++) {
        g_autofree char *name = g_strdup_printf("%d", i);

        g_assert_cmpint(stream_stored_add_part(stored, name, 1), ==,
                        i < STREAM_STORED_PARTS_MAX - 2 ? i + 2 : -1);
    }
    for (uint64_t set = 0; set < 2 * STREAM_STORED_SETS_MAX; set++) {
        stream_stored_need(stored, set);
    }
    g_assert_cmpuint(stored->needed->len, ==, STREAM_STORED_SETS_MAX);
}

/* A number has one way to be written, and is one of those that there are */
static void test_numbered(void)
{
    static const char *const wrong[] = {
        "", "00", "01", "+1", "-0", "-1", " 1", "1 ", "1x", "x", "0x1", "1.0",
        "2", "10", "4294967295", "4294967296", "4294967297",
        "18446744073709551616", "18446744073709551617",
    };
    g_autoptr(GPtrArray) inside = stream_stored_new();
    StreamStored *stored = stream_stored_get(inside, "thing");

    g_assert(!stream_stored_numbered(stored, "0"));
    stream_stored_add_part(stored, "a", 1);
    stream_stored_add_part(stored, "b", 1);
    g_assert(stream_stored_numbered(stored, "0") == stored->parts->pdata[0]);
    g_assert(stream_stored_numbered(stored, "1") == stored->parts->pdata[1]);
    for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_test_message("'%s'", wrong[i]);
        g_assert(!stream_stored_numbered(stored, wrong[i]));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/spare/check", test_check);
    g_test_add_func("/migration/spare/choose", test_choose);
    g_test_add_func("/migration/spare/hostile", test_hostile);
    g_test_add_func("/migration/spare/json", test_json);
    g_test_add_func("/migration/spare/look", test_look);
    g_test_add_func("/migration/spare/numbered", test_numbered);
    g_test_add_func("/migration/spare/stored", test_stored);
    return g_test_run();
}
