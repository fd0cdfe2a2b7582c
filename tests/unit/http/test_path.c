/* test_path.c - one reading of a path. */
#include "feed.h"

#include "http/path.h"

static struct message m;
static const char *detail;

static enum reason apply(enum path_policy policy, const char *path, size_t n)
{
    message_init(&m, true);
    assert_int_equal(message_append(&m, path, n, &m.path), 0);
    detail = NULL;
    return path_apply(&m, policy, &detail);
}

#define BECOMES(from, to)                                                                          \
    do {                                                                                           \
        assert_int_equal(apply(PATH_NORMALISE, from, sizeof(from) - 1), REASON_NONE);              \
        assert_true(str_eq(message_str(&m, m.path), STR(to)));                                     \
        message_free(&m);                                                                          \
        bool same = sizeof(from) == sizeof(to) && memcmp(from, to, sizeof(to)) == 0;               \
        enum reason r = apply(PATH_REFUSE, from, sizeof(from) - 1);                                \
        assert_int_equal(r, same ? REASON_NONE : REASON_BAD_REQUEST);                              \
        message_free(&m);                                                                          \
        assert_int_equal(apply(PATH_AS_IS, from, sizeof(from) - 1), REASON_NONE);                  \
        assert_true(str_eq(message_str(&m, m.path), STR(from)));                                   \
        message_free(&m);                                                                          \
    } while (0)

#define REFUSED(policy, path)                                                                      \
    do {                                                                                           \
        assert_int_equal(apply(policy, path, sizeof(path) - 1), REASON_BAD_REQUEST);               \
        assert_non_null(detail);                                                                   \
        message_free(&m);                                                                          \
    } while (0)

static void normal_paths_stay(void **state)
{
    (void)state;
    BECOMES("/", "/");
    BECOMES("/a/b.c/d~e_f-g", "/a/b.c/d~e_f-g");
    BECOMES("//a///b/", "//a///b/");
    BECOMES("/.well-known/x", "/.well-known/x");
    BECOMES("/a./..b/...", "/a./..b/...");
    BECOMES("/a%20b%2Fc%25", "/a%20b%2Fc%25");
    BECOMES("/a;b=c:@!$&'()*+,=", "/a;b=c:@!$&'()*+,=");
    BECOMES("/%0D%0A", "/%0D%0A");
}

static void input_18_dot_segments(void **state)
{
    (void)state;
    BECOMES("/a/../b", "/b");
    BECOMES("/a/./b", "/a/b");
    BECOMES("/.", "/");
    BECOMES("/./", "/");
    BECOMES("/a/.", "/a/");
    BECOMES("/a/b/..", "/a/");
    BECOMES("/a/..", "/");
    BECOMES("/a/../", "/");
    BECOMES("/a/b/c/./../../g", "/a/g");
    BECOMES("/a//../b", "/a/b");
    BECOMES("//..", "/");
    BECOMES("/a/%2e%2e/b", "/b");
    BECOMES("/a/%2E./b", "/b");
    BECOMES("/a/.%2e", "/");
    BECOMES("/%2e/x", "/x");
    REFUSED(PATH_NORMALISE, "/..");
    REFUSED(PATH_NORMALISE, "/../a");
    REFUSED(PATH_NORMALISE, "/a/../../b");
    REFUSED(PATH_NORMALISE, "/%2e%2e/%2e%2e/etc/passwd");
    REFUSED(PATH_REFUSE, "/../a");
}

static void input_18_percent(void **state)
{
    (void)state;
    BECOMES("/%41%7eb", "/A~b");
    BECOMES("/a%2fb", "/a%2Fb");
    BECOMES("/..%2f..%2fetc", "/..%2F..%2Fetc");
    BECOMES("/%252e%252e/x", "/%252e%252e/x");
    BECOMES("/%c3%a9", "/%C3%A9");
    REFUSED(PATH_NORMALISE, "/a%00b");
    REFUSED(PATH_REFUSE, "/%00");
    REFUSED(PATH_AS_IS, "/%00");
    REFUSED(PATH_NORMALISE, "/%");
    REFUSED(PATH_NORMALISE, "/%4");
    REFUSED(PATH_NORMALISE, "/%zz");
    REFUSED(PATH_NORMALISE, "/%4g/..");
    REFUSED(PATH_REFUSE, "/%u0041");
}

static void input_17_raw_bytes(void **state)
{
    static const enum path_policy all[] = {PATH_NORMALISE, PATH_REFUSE, PATH_AS_IS};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        REFUSED(all[i], "/a\0b");
        REFUSED(all[i], "/a b");
        REFUSED(all[i], "/a\x1f");
        REFUSED(all[i], "/a\x7f");
        REFUSED(all[i], "/\xc3\xa9");
        REFUSED(all[i], "/a#b");
        REFUSED(all[i], "");
        REFUSED(all[i], "a/b");
    }
    REFUSED(PATH_NORMALISE, "/a\\..\\b");
    REFUSED(PATH_REFUSE, "/a\\b");
}

static void asterisk_is_left_alone(void **state)
{
    (void)state;
    message_init(&m, true);
    assert_int_equal(message_append(&m, "*", 1, &m.path), 0);
    m.asterisk = 1;
    assert_int_equal(path_apply(&m, PATH_REFUSE, &detail), REASON_NONE);
    message_free(&m);
}

/* Whatever comes out normal stays as it is, and has neither dot segments nor %00. */
static void normalising_twice_changes_nothing(void **state)
{
    static const char *const parts[] = {"/", ".", "..", "%2e", "%2F", "a", "%41", "%25", "//"};
    uint32_t x = 1;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        char path[128] = "/", once[128];
        size_t n = 1;
        for (int i = 0; i < 12; i++) {
            x = x * 1664525 + 1013904223;
            const char *part = parts[(x >> 16) % ARRAY_LEN(parts)];
            memcpy(path + n, part, strlen(part));
            n += strlen(part);
        }
        if (apply(PATH_NORMALISE, path, n) == REASON_NONE) {
            struct str s = message_str(&m, m.path);
            size_t len = s.n;
            assert_true(len >= 1 && len <= n && s.p[0] == '/');
            memcpy(once, s.p, len);
            once[len] = '\0';
            assert_null(strstr(once, "/./"));
            assert_null(strstr(once, "/../"));
            message_free(&m);
            assert_int_equal(apply(PATH_REFUSE, once, len), REASON_NONE);
            assert_int_equal(m.path.len, len);
            assert_memory_equal(message_str(&m, m.path).p, once, len);
        }
        message_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_paths_stay),
        cmocka_unit_test(input_18_dot_segments),
        cmocka_unit_test(input_18_percent),
        cmocka_unit_test(input_17_raw_bytes),
        cmocka_unit_test(asterisk_is_left_alone),
        cmocka_unit_test(normalising_twice_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
