/* test_proc_text.c - files of the kernel's, as real machines have them. */
#include "io/proc_text.h"

#include "base/check.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static char root[PROC_PATH_MAX], point[PROC_PATH_MAX];

static void assert_str(struct str is, const char *expected)
{
    assert_int_equal(is.n, strlen(expected));
    assert_memory_equal(is.p, expected, is.n);
}

static void test_cgroup(UNUSED void **state)
{
    struct str path;
    /* Debian 12, a unit of systemd's. */
    struct str v2 = STR("0::/system.slice/sluice.service\n");
    assert_true(proc_text_cgroup(v2, CGROUP_V2, &path));
    assert_str(path, "/system.slice/sluice.service");
    assert_false(proc_text_cgroup(v2, CGROUP_V1, &path));
    /* A container with a namespace of its own. */
    assert_true(proc_text_cgroup(STR("0::/\n"), CGROUP_V2, &path));
    assert_str(path, "/");
    /* Version 1, Docker; the controllers of a line are a list. */
    struct str v1 =
        STR("12:hugetlb:/docker/6b5c\n11:cpu,cpuacct:/docker/6b5c\n"
            "9:pids:/docker/6b5c\n6:memory:/docker/6b5c\n1:name=systemd:/docker/6b5c\n");
    assert_true(proc_text_cgroup(v1, CGROUP_V1, &path));
    assert_str(path, "/docker/6b5c");
    assert_false(proc_text_cgroup(v1, CGROUP_V2, &path));
    /* Both: systemd's is version 2, and has no memory. */
    struct str hybrid =
        STR("4:memory,hugetlb:/user.slice\n1:name=systemd:/user.slice/a\n0::/user.slice/a\n");
    assert_true(proc_text_cgroup(hybrid, CGROUP_V1, &path));
    assert_str(path, "/user.slice");
    assert_true(proc_text_cgroup(hybrid, CGROUP_V2, &path));
    assert_str(path, "/user.slice/a");
    /* A path may have a colon, and the last line no end. */
    assert_true(proc_text_cgroup(STR("0::/a:b"), CGROUP_V2, &path));
    assert_str(path, "/a:b");
    assert_false(proc_text_cgroup(STR(""), CGROUP_V2, &path));
    assert_false(proc_text_cgroup(STR("0::\n"), CGROUP_V2, &path));
    assert_false(proc_text_cgroup(STR("0\n::/\nmemory\n3:memory\n"), CGROUP_V2, &path));
    assert_false(
        proc_text_cgroup(STR("3:memory\n4:nomemory:/a\n5:memoryx,y:/\n"), CGROUP_V1, &path));
}

static const char hybrid_mounts[] =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:12 master:3 - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

static void test_mount(UNUSED void **state)
{
    assert_true(proc_text_mount(str_of(hybrid_mounts), CGROUP_V1, root, point));
    assert_string_equal(root, "/");
    assert_string_equal(point, "/sys/fs/cgroup/memory");
    assert_true(proc_text_mount(str_of(hybrid_mounts), CGROUP_V2, root, point));
    assert_string_equal(point, "/sys/fs/cgroup/unified");
    /* Kubernetes, containerd, version 2. */
    assert_true(proc_text_mount(
        STR("1043 1027 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup "
            "rw,nsdelegate,memory_recursiveprot\n"),
        CGROUP_V2, root, point));
    assert_string_equal(root, "/");
    assert_string_equal(point, "/sys/fs/cgroup");
    /* Docker without a cgroup namespace, version 1; a place with a space. */
    struct str docker = STR("700 693 0:34 /docker/6b5c /mnt/c\\040g/memory ro,relatime master:16 - "
                            "cgroup cgroup rw,memory\n");
    assert_true(proc_text_mount(docker, CGROUP_V1, root, point));
    assert_string_equal(root, "/docker/6b5c");
    assert_string_equal(point, "/mnt/c g/memory");
    assert_false(proc_text_mount(docker, CGROUP_V2, root, point));
    /* Not the memory controller's; no dash; cut anywhere. */
    assert_false(proc_text_mount(STR("1 2 0:3 / /a rw - cgroup cgroup rw,memory_x\n"), CGROUP_V1,
                                 root, point));
    assert_false(
        proc_text_mount(STR("1 2 0:3 / /a rw cgroup2 cgroup rw\n"), CGROUP_V2, root, point));
    assert_false(proc_text_mount(STR(""), CGROUP_V2, root, point));
    assert_false(proc_text_mount(STR("\n\n1\n1 2 3\n- cgroup2 x rw\n"), CGROUP_V2, root, point));
    struct str whole = str_of(hybrid_mounts);
    for (size_t n = 0; n < whole.n; n++)
        (void)proc_text_mount((struct str){whole.p, n}, CGROUP_V2, root, point);
}

static void test_a_mount_with_a_long_name(UNUSED void **state)
{
    char *text = malloc(3 * PROC_PATH_MAX);
    int n = snprintf(text, 3 * PROC_PATH_MAX, "1 2 0:3 / /%0*d rw - cgroup2 cgroup rw\n",
                     2 * PROC_PATH_MAX, 0);
    assert_false(proc_text_mount((struct str){text, (size_t)n}, CGROUP_V2, root, point));
    free(text);
}

static void test_numbers(UNUSED void **state)
{
    uint64_t v = 0;
    assert_true(proc_text_number(STR("67108864\n"), &v));
    assert_int_equal(v, 64 << 20);
    assert_true(proc_text_number(STR("0\n"), &v));
    assert_int_equal(v, 0);
    assert_true(proc_text_number(STR("max\n"), &v));
    assert_true(v == UINT64_MAX);
    assert_true(proc_text_number(STR("9223372036854771712\n"), &v)); /* version 1 */
    assert_true(v == UINT64_MAX);
    assert_true(proc_text_number(STR("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {"",     "\n",    "maximal\n", "-1\n",
                                      " 1\n", "1 2\n", "0x10\n",    "99999999999999999999999\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(proc_text_number(str_of(bad[i]), &v));
}

static void test_stat(UNUSED void **state)
{
    /* The first lines of a Linux 6.1's memory.stat, version 2. */
    struct str v2 = STR("anon 2187264\nfile 12517376\nkernel 405504\nkernel_stack 65536\n"
                        "pagetables 139264\nsock 0\nshmem 0\nfile_mapped 0\nfile_dirty 167936\n"
                        "inactive_anon 2174976\nactive_anon 12288\ninactive_file 3190784\n"
                        "active_file 9326592\nunevictable 0\nslab 139264\n");
    uint64_t v = 0;
    assert_true(proc_text_stat(v2, STR("inactive_file"), &v));
    assert_int_equal(v, 3190784);
    assert_true(proc_text_stat(v2, STR("anon"), &v));
    assert_int_equal(v, 2187264);
    assert_false(proc_text_stat(v2, STR("total_inactive_file"), &v));
    /* Version 1 has it for the group alone, and with those below it. */
    struct str v1 = STR("inactive_file 1\nactive_file 2\nhierarchical_memory_limit 3\n"
                        "total_cache 4\ntotal_inactive_file 3190784\ntotal_active_file 9326592");
    assert_true(proc_text_stat(v1, STR("total_inactive_file"), &v));
    assert_int_equal(v, 3190784);
    assert_false(proc_text_stat(STR("inactive_file\ninactive_file 5\n"), STR("inactive_file"), &v));
    assert_false(proc_text_stat(STR(""), STR("inactive_file"), &v));
}

static void test_pressure(UNUSED void **state)
{
    struct str memory = STR("some avg10=1.53 avg60=0.87 avg300=0.22 total=14331539\n"
                            "full avg10=100.00 avg60=0.41 avg300=0.10 total=927223\n");
    uint32_t ppm = 0;
    assert_true(proc_text_pressure(memory, STR("some"), &ppm));
    assert_int_equal(ppm, 15300);
    assert_true(proc_text_pressure(memory, STR("full"), &ppm));
    assert_int_equal(ppm, 1000000);
    assert_true(proc_text_pressure(STR("some avg10=0.00 avg60=0.00 avg300=0.00 total=0"),
                                   STR("some"), &ppm));
    assert_int_equal(ppm, 0);
    static const char *const bad[] = {"",
                                      "some",
                                      "some \n",
                                      "full avg10=1.00\n",
                                      "some avg60=1.00\n",
                                      "some avg10=1\n",
                                      "some avg10=1.5\n",
                                      "some avg10=1.555\n",
                                      "some avg10=a.00\n",
                                      "some avg10=1.xx\n",
                                      "some avg10=101.00\n",
                                      "some avg10=-1.00\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(proc_text_pressure(str_of(bad[i]), STR("some"), &ppm));
}

/* Whatever stands there: an answer, and no byte beyond its end is read. */
static void test_any_bytes(UNUSED void **state)
{
    static const char pieces[][16] = {
        "0::/",    "memory", ":",  "\n",   " ",      "/",    "-",   "cgroup2 x", "cgroup x ",
        ",memory", "\\040",  "\\", "some", "avg10=", "1.00", "max", "7",         "inactive_file "};
    struct rng g;
    rng_init(&g, 7);
    for (int i = 0; i < 20000; i++) {
        char at_end[256];
        size_t n = 0;
        for (uint32_t k = rng_below(&g, 14); k > 0; k--) {
            const char *p = pieces[rng_below(&g, ARRAY_LEN(pieces))];
            memcpy(at_end + n, p, strlen(p));
            n += strlen(p);
        }
        char *exact = malloc(n + 1); /* a sanitizer sees what lies behind it */
        memcpy(exact, at_end, n);
        char *text = realloc(exact, n > 0 ? n : 1);
        struct str s = {text, n}, path = STR_NONE;
        uint64_t number;
        uint32_t ppm;
        for (int v = CGROUP_V1; v <= CGROUP_V2; v++) {
            if (proc_text_cgroup(s, (enum cgroup_version)v, &path))
                assert_true(path.n > 0 && path.p[0] == '/' && path.p >= text &&
                            path.p + path.n <= text + n);
            (void)proc_text_mount(s, (enum cgroup_version)v, root, point);
        }
        (void)proc_text_number(s, &number);
        (void)proc_text_stat(s, STR("inactive_file"), &number);
        if (proc_text_pressure(s, STR("some"), &ppm))
            assert_in_range(ppm, 0, 1009900);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cgroup),
        cmocka_unit_test(test_mount),
        cmocka_unit_test(test_a_mount_with_a_long_name),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_stat),
        cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
