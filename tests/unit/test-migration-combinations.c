/*
 * Which subsections go together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/compat/combinations.h"

#define ALL UINT64_MAX

/* Bit 0 is d/a, bit 1 is d/b, and so on */
static const char *const names[] = { "d/a", "d/b", "d/c", "d/d" };
enum { A = 1, B = 2, C = 4, D = 8 };

static Combinations *parse(const char *text, unsigned n)
{
    return combinations_parse(text, names, n, &error_abort);
}

static void append(uint64_t set, void *arg)
{
    g_string_append_printf(arg, "%" PRIx64 " ", set);
}

/* Sets in the order they are enumerated, and the text in its one form */
static const struct {
    const char *text;
    unsigned n;
    const char *sets;
    const char *canonical;
} valid[] = {
    { "", 0, "0 ", "" },
    { "a", 1, "1 ", "d/a" },
    { "[a]", 1, "0 1 ", "[d/a]" },
    { "[a] [b] [c]", 3, "0 4 2 6 1 5 3 7 ", "[d/a] [d/b] [d/c]" },
    { "[a [b]]", 2, "0 1 3 ", "[d/a [d/b]]" },
    { " [ a[b [ c ]] ] ", 3, "0 1 3 7 ", "[d/a [d/b [d/c]]]" },
    { "[b a]", 2, "0 3 ", "[d/a d/b]" },
    { "[a] d/b", 2, "2 3 ", "d/b [d/a]" },
    { "a | b", 2, "1 2 ", "d/a | d/b" },
    { "[a|b]", 2, "0 1 2 ", "[d/a | d/b]" },
    { "|a", 1, "0 1 ", "| d/a" },
    { "a|", 1, "1 0 ", "d/a |" },
    { "[|a]", 1, "0 1 ", "[| d/a]" },
    { "[a] | [b]", 2, "0 1 2 ", "[d/a] | [d/b]" },
    { "a | a b | a [c] [d]", 4, "1 3 9 5 d ",
      "d/a | d/a d/b | d/a [d/c] [d/d]" },
    { "[a [b | c]] [d]", 4, "0 8 1 9 3 b 5 d ", "[d/a [d/b | d/c]] [d/d]" },
};

static void test_valid(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
        g_autoptr(Combinations) c = parse(valid[i].text, valid[i].n);
        g_autofree char *text = combinations_to_text(c);
        g_autoptr(Combinations) again = combinations_parse(text, NULL, 0,
                                                           &error_abort);
        g_autofree char *text_again = combinations_to_text(again);
        g_autoptr(GString) sets = g_string_new(NULL);
        g_auto(GStrv) each = NULL;
        unsigned n;

        n = combinations_foreach(c, 100, append, sets);
        g_assert_cmpstr(sets->str, ==, valid[i].sets);
        g_assert_cmpstr(text, ==, valid[i].canonical);
        g_assert_cmpuint(combinations_count(c), ==, valid[i].n);
        g_assert_cmpuint(combinations_count(again), ==, valid[i].n);
        g_assert_cmpuint(strlen(text), ==, strlen(text_again));

        /* These and no others */
        each = g_strsplit(sets->str, " ", -1);
        for (uint64_t set = 0; set < 32; set++) {
            g_autofree char *hex = g_strdup_printf("%" PRIx64, set);

            g_assert(combinations_allow(c, set) ==
                     g_strv_contains((const char *const *)each, hex));
            n -= combinations_allow(c, set);
        }
        g_assert_cmpuint(n, ==, 0);
    }
}

static void test_largest(void)
{
    static const struct {
        const char *text;
        uint64_t least, most;
        int set;            /* -1: none */
    } cases[] = {
        { "[a] [b] [c] [d]", 0, ALL, A | B | C | D },
        { "[a] [b] [c] [d]", A, A | C, A | C },
        { "[a] [b] [c] [d]", A, B | C, -1 },
        { "[a [b [c [d]]]]", 0, A | B | D, A | B },
        { "[a [b [c [d]]]]", 0, B | C | D, 0 },
        { "[a [b [c [d]]]]", B, B | C | D, -1 },
        { "a b c d", 0, A | B | C, -1 },
        { "a b c d", 0, ALL, A | B | C | D },
        { "a b | c d", 0, ALL, A | B },
        { "a b | c d", C, ALL, C | D },
        { "a b | c d", A | C, ALL, -1 },
        { "a | b c | d", 0, ALL, B | C },
        { "a | b c | d", 0, A | C | D, A },
        { "[a [b | c d]]", B, ALL, A | B },
        { "[a [b | c d]]", 0, ALL, A | C | D },
        { "[a [b | c d]]", 0, A | B | C, A | B },
        { "[a b c d]", 0x10, ALL, -1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(Combinations) c = parse(cases[i].text, 4);
        uint64_t set;
        bool found = combinations_largest(c, cases[i].least, cases[i].most,
                                          &set);

        g_assert(found == (cases[i].set >= 0));
        if (found) {
            g_assert_cmphex(set, ==, cases[i].set);
            g_assert(combinations_allow(c, set));
        }
    }
}

/* The same answer as from looking at all sets */
static void test_largest_of_all(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
        g_autoptr(Combinations) c = parse(valid[i].text, valid[i].n);

        for (uint64_t least = 0; least < 16; least++) {
            for (uint64_t most = 0; most < 16; most++) {
                int best = -1;
                uint64_t set;

                for (uint64_t s = 0; s < 16; s++) {
                    if (combinations_allow(c, s) && !(least & ~s) &&
                        !(s & ~most)) {
                        best = MAX(best, __builtin_popcountll(s));
                    }
                }
                g_assert(combinations_largest(c, least, most, &set) ==
                         (best >= 0));
                g_assert(best < 0 || __builtin_popcountll(set) == best);
            }
        }
    }
}

static void test_wrong(void)
{
    static const char *const twins[] = { "d/a", "e/a" };
    static const char *const doubled[] = { "d/a", "d/a" };
    static const char *const quotes[] = { "a'b" };
    static const struct {
        const char *text;
        const char *const *names;
        unsigned n;
        const char *error;
    } cases[] = {
        { "[a] [x]", names, 1, "byte 5: there is no subsection 'x'" },
        { "[a] d", names, 1, "byte 4: there is no subsection 'd'" },
        { "[a]", names, 2, "byte 3: subsection 'd/b' is in no combination" },
        { "", names, 1, "byte 0: subsection 'd/a' is in no combination" },
        { "a a", names, 1,
          "byte 2: subsection 'd/a' stands twice in one combination" },
        { "a [b [d/a]]", names, 2,
          "byte 10: subsection 'd/a' stands twice in one combination" },
        { "[a", names, 1, "byte 2: expected ']'" },
        { "a]", names, 1, "byte 1: there is a ']' too many" },
        { "[a] | ]", names, 1, "byte 6: there is a ']' too many" },
        { "'a", names, 1, "byte 0: expected a name and another quote" },
        { "''", names, 1, "byte 0: expected a name and another quote" },
        { "a", quotes, 1,
          "byte 0: 'a'b' is no name that could stand here" },
        { "a", twins, 2, "byte 0: 'a' may be 'd/a' or 'e/a'" },
        { "d/a", doubled, 2, "byte 0: there are two subsections 'd/a'" },
        { "[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]", names, 1,
          "byte 16: there are more than 16 brackets around one another" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *expected = g_strdup_printf("combinations, %s",
                                                    cases[i].error);
        Error *err = NULL;

        g_assert_null(combinations_parse(cases[i].text, cases[i].names,
                                         cases[i].n, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, expected);
        error_free(err);
    }
}

/* Whole names tell twins apart */
static void test_names(void)
{
    static const char *const twins[] = { "d/a", "e/a", "a" };
    g_autoptr(Combinations) c = combinations_parse("[d/a] e/a a", twins, 3,
                                                   &error_abort);
    g_autofree char *some = combinations_set_to_text(c, 1 | 4);
    g_autofree char *none = combinations_set_to_text(c, 0);
    g_autofree char *renamed = NULL;

    g_assert_cmpstr(some, ==, "d/a + a");
    g_assert_cmpstr(none, ==, "none");
    g_assert(combinations_allow(c, 2 | 4));
    g_assert(!combinations_allow(c, 1 | 2));
    g_assert_cmpint(combinations_find(c, "a"), ==, 2);
    g_assert_cmpint(combinations_find(c, "e"), ==, -1);
    combinations_rename(c, 1, "x/y");
    renamed = combinations_to_text(c);
    g_assert_cmpstr(renamed, ==, "x/y a [d/a]");
    g_assert_cmpint(combinations_find(c, "e/a"), ==, -1);
}

/* Names that are no words */
static void test_quotes(void)
{
    static const char *const odd[] = { "ide bm", "x/[", "|" };
    g_autoptr(Combinations) c =
        combinations_parse("['ide bm'['['][ '|']]", odd, 3, &error_abort);
    g_autofree char *text = combinations_to_text(c);
    g_autofree char *some = combinations_set_to_text(c, 1 | 4);

    g_assert_cmpstr(text, ==, "['ide bm' ['x/['] ['|']]");
    g_assert_cmpstr(some, ==, "ide bm + |");
    combinations_free(combinations_copy(c));
    combinations_free(combinations_parse(text, NULL, 0, &error_abort));
    g_assert(combinations_rename(c, 0, "a"));
    g_assert(!combinations_rename(c, 0, "'"));
    g_assert(!combinations_rename(c, 0, ""));
}

/* A text may be longer when it is written than when it was read */
static void test_copy(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(Combinations) c = NULL, copy = NULL;

    while (text->len < COMBINATIONS_TEXT_MAX) {
        g_string_append(text, "[]");
    }
    c = combinations_parse(text->str, NULL, 0, &error_abort);
    copy = combinations_copy(c);
    g_assert(combinations_allow(copy, 0));
}

/* What somebody else's text may name */
static void test_foreign_names(void)
{
    g_autofree char *longest = g_strnfill(255, 'n');
    g_autofree char *longer = g_strnfill(256, 'n');
    const char *const bad[] = { longer, "a\xc0\x80", "[\xff]", "a \x1b[2J",
                                "'\x7f'" };

    combinations_free(combinations_parse(longest, NULL, 0, &error_abort));
    combinations_free(combinations_parse("[\xc3\xa4]", NULL, 0, &error_abort));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        Error *err = NULL;

        g_assert_null(combinations_parse(bad[i], NULL, 0, &err));
        g_assert(strstr(error_get_pretty(err), "expected a name of 1 to 255 "
                        "bytes without control characters"));
        error_free(err);
    }
}

static void test_list(void)
{
    g_autoptr(Combinations) list =
        combinations_parse("a | b c | ", NULL, 0, &error_abort);
    g_autoptr(Combinations) brackets =
        combinations_parse("a | b [c]", NULL, 0, &error_abort);

    g_assert(combinations_is_list(list, 3));
    g_assert(!combinations_is_list(list, 2));
    g_assert(!combinations_is_list(brackets, 3));
}

/* As much as may come from somewhere else, and more */
static void test_limits(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) sets = g_string_new(NULL);
    Combinations *c;
    Error *err = NULL;
    uint64_t set;

    for (int i = 0; i < COMBINATIONS_NAMES_MAX; i++) {
        g_string_append_printf(text, "[n%d] ", i);
    }
    c = combinations_parse(text->str, NULL, 0, &error_abort);
    g_assert_cmpuint(combinations_count(c), ==, 64);
    g_assert(combinations_allow(c, ALL));
    g_assert(combinations_largest(c, 0, ALL, &set));
    g_assert_cmphex(set, ==, ALL);
    g_assert_cmpuint(combinations_foreach(c, 3, append, sets), ==, 3);
    g_assert_cmpstr(sets->str, ==, "0 8000000000000000 4000000000000000 ");
    combinations_free(c);

    g_string_append(text, "more");
    g_assert_null(combinations_parse(text->str, NULL, 0, &err));
    g_assert(strstr(error_get_pretty(err), "more than 64 subsections"));
    error_free(err);
    err = NULL;

    g_string_truncate(text, 0);
    while (text->len < COMBINATIONS_TEXT_MAX) {
        g_string_append(text, "[a|[b|[c|[d|b|||]]]]|");
    }
    g_assert_null(combinations_parse(text->str, NULL, 0, &err));
    g_assert(strstr(error_get_pretty(err), "expected at most 16384 bytes"));
    error_free(err);
    g_string_truncate(text, COMBINATIONS_TEXT_MAX / 21 * 21);
    c = combinations_parse(text->str, NULL, 0, &error_abort);
    g_assert(!combinations_allow(c, A | B));
    g_assert(combinations_largest(c, 0, ALL, &set));
    g_string_truncate(sets, 0);
    combinations_foreach(c, 100, append, sets);
    g_assert_cmpstr(sets->str, ==, "0 1 2 4 8 ");
    combinations_free(c);
}

/* Any text is read or refused; what is read can be written and read again */
static void test_random(void)
{
    static const char alphabet[] = "abc[]| /'";

    for (int i = 0; i < 20000; i++) {
        char text[16] = "";
        Combinations *c;

        for (int k = g_test_rand_int_range(0, 15); k > 0; k--) {
            text[k - 1] = alphabet[g_test_rand_int_range(0, 9)];
        }
        c = combinations_parse(text, NULL, 0, NULL);
        if (c) {
            g_autofree char *once = combinations_to_text(c);
            g_autoptr(Combinations) again = combinations_parse(once, NULL, 0,
                                                               &error_abort);

            g_assert_cmpuint(combinations_count(c), ==,
                             combinations_count(again));
            for (uint64_t set = 0; set < 8; set++) {
                uint64_t same = 0;

                for (unsigned n = 0; n < combinations_count(c); n++) {
                    const char *name = combinations_name(c, n);

                    if (set >> n & 1) {
                        same |= 1 << combinations_find(again, name);
                    }
                }
                g_assert(set >> combinations_count(c) ||
                         combinations_allow(c, set) ==
                         combinations_allow(again, same));
            }
            combinations_free(c);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/combinations/valid", test_valid);
    g_test_add_func("/combinations/largest", test_largest);
    g_test_add_func("/combinations/largest-of-all", test_largest_of_all);
    g_test_add_func("/combinations/wrong", test_wrong);
    g_test_add_func("/combinations/names", test_names);
    g_test_add_func("/combinations/quotes", test_quotes);
    g_test_add_func("/combinations/copy", test_copy);
    g_test_add_func("/combinations/foreign-names", test_foreign_names);
    g_test_add_func("/combinations/list", test_list);
    g_test_add_func("/combinations/limits", test_limits);
    g_test_add_func("/combinations/random", test_random);
    return g_test_run();
}
