/* test_journal_format.c - the journal's bytes, without a disk: checksums, seals, and every damage
 * that one byte or one cut can do. */
#include "journal_rig.h"

static const char mark[JOURNAL_MARK_BYTES] = "\1mark\2\3";

static size_t put_record(char *out, uint64_t id, enum journal_kind kind, struct str body)
{
    struct journal_record r = {.id = id, .writer = 7, .seq = id, .kind = kind, .body = body};
    journal_format_record(out, mark, &r);
    if (body.n > 0)
        memcpy(out + JOURNAL_RECORD_HEADER, body.p, body.n);
    return JOURNAL_RECORD_HEADER + body.n;
}

/* "1:a 2:b ", all that is found. */
static const char *found(const char *p, size_t n)
{
    static char text[256];
    char m[JOURNAL_MARK_BYTES];
    struct journal_record r;
    size_t at = 0, len = 0;

    memcpy(m, mark, sizeof(m));
    text[0] = '\0';
    while (journal_find(p, n, m, &at, &r))
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%llu:%.*s ",
                                (unsigned long long)r.id, STR_FMT(r.body));
    return text;
}

static void test_crc(void **state)
{
    char zeros[32] = {0};
    (void)state;
    assert_int_equal(journal_crc(0, "123456789", 9), 0xe3069283);
    assert_int_equal(journal_crc(0, zeros, sizeof(zeros)), 0x8a9136aa); /* RFC 3720 §B.4 */
    assert_int_equal(journal_crc(journal_crc(0, "1234", 4), "56789", 5), 0xe3069283);
    assert_int_equal(journal_crc(0, "", 0), 0);
}

static void test_file_header(void **state)
{
    char header[JOURNAL_FILE_HEADER], m[JOURNAL_MARK_BYTES];
    (void)state;
    journal_format_file(header, mark);
    assert_int_equal(journal_read_file(header, sizeof(header), m), 0);
    assert_memory_equal(m, mark, sizeof(m));
    for (size_t n = 0; n < sizeof(header); n++)
        assert_int_equal(journal_read_file(header, n, m), -EBADMSG);
    for (size_t i = 0; i < sizeof(header); i++) {
        header[i] ^= 0x10;
        assert_int_equal(journal_read_file(header, sizeof(header), m), -EBADMSG);
        header[i] ^= 0x10;
    }
}

static void test_records(void **state)
{
    char p[1024];
    struct journal_record r;
    char m[JOURNAL_MARK_BYTES] = {0}; /* not known */
    size_t n = 0, at = 0;
    (void)state;
    n += put_record(p + n, 1, JOURNAL_PUT, STR("a"));
    n += put_record(p + n, UINT64_MAX, JOURNAL_DROP, STR_NONE);
    assert_true(journal_find(p, n, m, &at, &r));
    assert_memory_equal(m, mark, sizeof(m)); /* told by the first */
    assert_int_equal(r.id, 1);
    assert_int_equal(r.writer, 7);
    assert_int_equal(r.seq, 1);
    assert_int_equal(r.kind, JOURNAL_PUT);
    assert_false(r.sealed);
    assert_int_equal(r.at, 0);
    assert_int_equal(r.bytes, JOURNAL_RECORD_HEADER + 1);
    assert_int_equal(at, r.bytes);
    assert_true(journal_find(p, n, m, &at, &r));
    assert_true(r.id == UINT64_MAX);
    assert_int_equal(r.kind, JOURNAL_DROP);
    assert_int_equal(at, n);
    assert_false(journal_find(p, n, m, &at, &r));
    assert_int_equal(at, n);
}

/* Cut anywhere: what is whole is found, and the search stands at what is not. */
static void test_cut(void **state)
{
    char p[1024], m[JOURNAL_MARK_BYTES];
    size_t n = 0, one = 0;
    (void)state;
    one = n = put_record(p, 1, JOURNAL_PUT, STR("alpha"));
    n += put_record(p + n, 2, JOURNAL_PUT, STR("beta"));
    for (size_t cut = 0; cut <= n; cut++) {
        struct journal_record r;
        size_t at = 0, count = 0;
        memcpy(m, mark, sizeof(m));
        while (journal_find(p, cut, m, &at, &r))
            count++;
        assert_int_equal(count, cut < one ? 0 : cut < n ? 1 : 2);
        assert_int_equal(at, cut < one ? 0 : cut < n ? one : n);
    }
}

/* Each byte changed: the record that it is in is lost, and no other. */
static void test_flip(void **state)
{
    char p[1024];
    size_t ends[3], n = 0;
    const char *without[] = {"2:beta 3: ", "1:alpha 3: ", "1:alpha 2:beta "};
    (void)state;
    ends[0] = n += put_record(p + n, 1, JOURNAL_PUT, STR("alpha"));
    ends[1] = n += put_record(p + n, 2, JOURNAL_PUT, STR("beta"));
    ends[2] = n += put_record(p + n, 3, JOURNAL_DROP, STR_NONE);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            p[i] = (char)(p[i] ^ 1 << bit);
            assert_string_equal(found(p, n), without[i < ends[0] ? 0 : i < ends[1] ? 1 : 2]);
            p[i] = (char)(p[i] ^ 1 << bit);
        }
    }
    assert_string_equal(found(p, n), "1:alpha 2:beta 3: ");
}

/* An appender that died in the middle, and another behind it. */
static void test_torn_in_the_middle(void **state)
{
    char a[256], p[1024];
    size_t n = put_record(a, 1, JOURNAL_PUT, STR("0123456789012345678901234567890123456789"));
    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        memcpy(p, a, cut);
        size_t all = cut + put_record(p + cut, 2, JOURNAL_PUT, STR("b"));
        assert_string_equal(found(p, all), "2:b ");
    }
}

/* What a peer chose is in a record whose header is damaged, and looks like one. */
static void test_no_forgery(void **state)
{
    char inner[256], p[1024], other[JOURNAL_MARK_BYTES] = "other";
    struct journal_record r = {.id = 66, .kind = JOURNAL_PUT, .body = STR_NONE};
    (void)state;
    journal_format_record(inner, other, &r);
    size_t n = put_record(p, 1, JOURNAL_PUT, (struct str){inner, JOURNAL_RECORD_HEADER});
    assert_int_equal(strncmp(found(p, n), "1:", 2), 0);
    p[5] ^= 1;
    assert_string_equal(found(p, n), "");
}

/* Headers that are intact, and say what no writer says. */
static void test_refused(void **state)
{
    char p[JOURNAL_RECORD_HEADER + 64] = {0};
    char none[JOURNAL_MARK_BYTES] = {0};
    struct journal_record r = {.id = 1, .kind = (enum journal_kind)3};
    size_t at = 0;
    (void)state;
    journal_format_record(p, mark, &r);
    assert_string_equal(found(p, sizeof(p)), "");
    r = (struct journal_record){.kind = JOURNAL_PUT, .sealed = true, .body = STR("short")};
    journal_format_record(p, mark, &r);
    memcpy(p + JOURNAL_RECORD_HEADER, "short", 5);
    assert_string_equal(found(p, sizeof(p)), "");
    r = (struct journal_record){.kind = JOURNAL_PUT};
    journal_format_record(p, none, &r);
    assert_false(journal_find(p, sizeof(p), none, &at, &r));
}

/* ---- seals ---- */

/* c2sp.org/XAES-256-GCM; the second's key has the other parity in the doubling. */
static void test_seal_vectors(void **state)
{
    static const struct {
        char key;
        const char *aad;
        unsigned char out[28];
    } vectors[] = {
        {1, "", {0xce, 0x54, 0x6e, 0xf6, 0x3c, 0x9c, 0xc6, 0x07, 0x65, 0x92,
                 0x36, 0x09, 0xb3, 0x3a, 0x9a, 0x19, 0x74, 0xe9, 0x6e, 0x52,
                 0xda, 0xf2, 0xfc, 0xf7, 0x07, 0x5e, 0x22, 0x71}},
        {3, "c2sp.org/XAES-256-GCM", {0x98, 0x6e, 0xc1, 0x83, 0x25, 0x93, 0xdf, 0x54, 0x43, 0xa1,
                                      0x79, 0x43, 0x7f, 0xd0, 0x83, 0xbf, 0x3f, 0xdb, 0x41, 0xab,
                                      0xd7, 0x40, 0xa2, 0x1f, 0x71, 0xeb, 0x76, 0x9d}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char key[SEAL_KEY_BYTES], out[128], back[64];
        memset(key, vectors[i].key, sizeof(key));
        struct seal *s = seal_new(key);
        struct str aad = str_of(vectors[i].aad), text = STR("XAES-256-GCM");
        assert_non_null(s);
        assert_int_equal(seal_close(s, "ABCDEFGHIJKLMNOPQRSTUVWX", text, aad, out), 0);
        assert_memory_equal(out + SEAL_NONCE_BYTES, vectors[i].out, sizeof(vectors[i].out));
        struct str sealed = {out, SEAL_NONCE_BYTES + sizeof(vectors[i].out)};
        assert_int_equal(seal_open(s, sealed, aad, back), 0);
        assert_memory_equal(back, text.p, text.n);
        assert_int_equal(seal_open(s, sealed, STR("x"), back), -EKEYREJECTED);
        for (size_t at = 0; at < sealed.n; at++) {
            out[at] ^= 0x40;
            assert_int_equal(seal_open(s, sealed, aad, back), -EKEYREJECTED);
            out[at] ^= 0x40;
        }
        assert_int_equal(seal_open(s, (struct str){out, 39}, aad, back), -EKEYREJECTED);
        assert_null(seal_free(s));
    }
}

static void test_seal_random(void **state)
{
    char key[SEAL_KEY_BYTES] = "k", a[64], b[64], back[8];
    struct seal *s = seal_new(key);
    (void)state;
    assert_non_null(s);
    assert_int_equal(seal_close(s, NULL, STR("text"), STR_NONE, a), 0);
    assert_int_equal(seal_close(s, NULL, STR("text"), STR_NONE, b), 0);
    assert_memory_not_equal(a, b, SEAL_NONCE_BYTES);
    assert_int_equal(seal_open(s, (struct str){a, 44}, STR_NONE, back), 0);
    assert_memory_equal(back, "text", 4);
    assert_int_equal(seal_close(s, NULL, STR_NONE, STR("aad"), a), 0); /* nothing, vouched for */
    assert_int_equal(seal_open(s, (struct str){a, 40}, STR("aad"), back), 0);
    assert_null(seal_free(s));
    assert_null(seal_free(NULL));
}

static int key_read(const char *text, size_t n, char *key)
{
    bool open_to_others = true;
    const char *path = rig_path("key");
    rig_write(path, text, n);
    int rc = seal_key_read(path, key, &open_to_others);
    if (rc == 0)
        assert_false(open_to_others);
    return rc;
}

static void test_key_file(void **state)
{
    static const char hex[] = "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff\n";
    char key[SEAL_KEY_BYTES], raw[SEAL_KEY_BYTES + 1] = "raw";
    bool open_to_others = false;
    (void)state;
    assert_int_equal(key_read(raw, SEAL_KEY_BYTES, key), 0);
    assert_memory_equal(key, raw, SEAL_KEY_BYTES);
    assert_int_equal(key_read(hex, 65, key), 0);
    assert_int_equal((unsigned char)key[31], 0xff);
    assert_int_equal((unsigned char)key[10], 0xaa);
    assert_int_equal(key_read(hex, 64, key), 0);
    assert_int_equal(key_read(hex, 63, key), -EINVAL);
    assert_int_equal(key_read(raw, SEAL_KEY_BYTES - 1, key), -EINVAL);
    assert_int_equal(key_read(raw, SEAL_KEY_BYTES + 1, key), -EINVAL);
    assert_int_equal(key_read("", 0, key), -EINVAL);
    assert_int_equal(
        key_read("zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 64, key),
        -EINVAL);
    assert_int_equal(seal_key_read(rig_path("none"), key, &open_to_others), -ENOENT);
    assert_int_equal(seal_key_read(rig_root, key, &open_to_others), -EISDIR);
    assert_int_equal(seal_key_read("/dev/zero", key, &open_to_others), -EINVAL);
    rig_write(rig_path("key"), hex, 65);
    assert_int_equal(chmod(rig_path("key"), 0644), 0);
    assert_int_equal(seal_key_read(rig_path("key"), key, &open_to_others), 0);
    assert_true(open_to_others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_file_header),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_flip),
        cmocka_unit_test(test_torn_in_the_middle),
        cmocka_unit_test(test_no_forgery),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_seal_vectors),
        cmocka_unit_test(test_seal_random),
        cmocka_unit_test_setup_teardown(test_key_file, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
