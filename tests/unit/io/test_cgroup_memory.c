/* test_cgroup_memory.c - the group's files are found, in a machine made of files, and read again as
 * they change. */
#include "io/cgroup_memory.h"

#include "base/check.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { MIB = 1 << 20, PATH_BYTES = 512 };

static char machine[64];

static int set_up(UNUSED void **state)
{
    static const char template[] = "/tmp/sluice-cgroup-XXXXXX";
    memcpy(machine, template, sizeof(template));
    return mkdtemp(machine) ? 0 : -1;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        char below[PATH_BYTES];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR)
            remove_tree(below);
        else
            (void)unlink(below);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(path);
}

static int tear_down(UNUSED void **state)
{
    remove_tree(machine);
    return 0;
}

/* With the directories above it; an existing file keeps its inode, as the kernel's do. */
static void put(const char *name, const char *text)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s%s", machine, name);
    for (char *p = path + strlen(machine) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs(text, f);
    (void)fclose(f);
}

static void put_v2(const char *directory, const char *used, const char *limit)
{
    char name[PATH_BYTES];
    (void)snprintf(name, sizeof(name), "%s/memory.current", directory);
    put(name, used);
    (void)snprintf(name, sizeof(name), "%s/memory.max", directory);
    put(name, limit);
    (void)snprintf(name, sizeof(name), "%s/memory.stat", directory);
    put(name, "anon 5\ninactive_file 1048576\nactive_file 9\n");
}

static void assert_usage(struct cgroup_memory *m, uint64_t used_mib, uint64_t limit_mib)
{
    struct cgroup_usage u = {0};
    assert_true(cgroup_memory_usage(m, &u));
    assert_int_equal(u.used, used_mib * MIB);
    assert_int_equal(u.limit, limit_mib * MIB);
}

/* A container of Kubernetes: its own group is all that it sees. */
static void test_container(UNUSED void **state)
{
    struct cgroup_usage u;
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", "1043 1027 0:29 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put_v2("/sys/fs/cgroup", "41943040\n", "67108864\n");
    put("/sys/fs/cgroup/memory.pressure", "some avg10=2.00 avg60=0.00 avg300=0.00 total=1\n"
                                          "full avg10=1.00 avg60=0.00 avg300=0.00 total=1\n");
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_non_null(m);
    assert_usage(m, 39, 64);
    uint32_t some = 0, full = 0;
    assert_true(cgroup_memory_pressure(m, &some, &full));
    assert_int_equal(some, 20000);
    assert_int_equal(full, 10000);
    /* It is resized. */
    put("/sys/fs/cgroup/memory.max", "134217728\n");
    assert_usage(m, 39, 128);
    put("/sys/fs/cgroup/memory.max", "max\n");
    assert_false(cgroup_memory_usage(m, &u));
    put("/sys/fs/cgroup/memory.max", "67108864\n");
    /* More cache than memory is a reading that came between two others. */
    put("/sys/fs/cgroup/memory.stat", "inactive_file 99999999999\n");
    put("/sys/fs/cgroup/memory.current", "67108864\n");
    assert_usage(m, 0, 64);
    put("/sys/fs/cgroup/memory.stat", "nothing\n");
    assert_usage(m, 64, 64);
    put("/sys/fs/cgroup/memory.current", "");
    assert_false(cgroup_memory_usage(m, &u));
    put("/sys/fs/cgroup/memory.pressure", "");
    assert_false(cgroup_memory_pressure(m, &some, &full));
    assert_null(cgroup_memory_free(m));
}

/* Far from the limit the cache is not looked at each time; near it it is. */
static void test_how_often_the_cache_is_looked_at(UNUSED void **state)
{
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/mountinfo", "1043 1027 0:29 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put_v2("/sys/fs/cgroup", "10485760\n", "67108864\n");
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_usage(m, 9, 64);
    put("/sys/fs/cgroup/memory.stat", "inactive_file 0\n");
    assert_usage(m, 9, 64);
    assert_usage(m, 9, 64);
    assert_usage(m, 9, 64);
    assert_usage(m, 10, 64);
    put("/sys/fs/cgroup/memory.current", "62914560\n");
    put("/sys/fs/cgroup/memory.stat", "inactive_file 1048576\n");
    assert_usage(m, 59, 64);
    put("/sys/fs/cgroup/memory.stat", "inactive_file 0\n");
    assert_usage(m, 60, 64);
    (void)cgroup_memory_free(m);
}

/* A unit of systemd's: the limit is that of a slice above it. */
static void test_levels_above(UNUSED void **state)
{
    put("/proc/self/cgroup", "0::/a.slice/b.slice/sluice.service\n");
    put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n");
    put_v2("/sys/fs/cgroup/a.slice/b.slice/sluice.service", "11534336\n", "max\n");
    put_v2("/sys/fs/cgroup/a.slice/b.slice", "53477376\n", "104857600\n");
    put_v2("/sys/fs/cgroup/a.slice", "53477376\n", "209715200\n");
    put("/sys/fs/cgroup/memory.pressure", "some avg10=9.00\n"); /* of all; not ours */
    put("/proc/pressure/memory", "some avg10=3.00 x\nfull avg10=0.00 x\n");
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_usage(m, 50, 100);
    /* Ours gets one, and is nearer to it. */
    put("/sys/fs/cgroup/a.slice/b.slice/sluice.service/memory.max", "22020096\n");
    assert_usage(m, 50, 100);
    put("/sys/fs/cgroup/a.slice/b.slice/sluice.service/memory.max", "15728640\n");
    assert_usage(m, 10, 15);
    uint32_t some = 0, full = 1;
    assert_true(cgroup_memory_pressure(m, &some, &full));
    assert_int_equal(some, 30000);
    assert_int_equal(full, 0);
    (void)cgroup_memory_free(m);
}

/* Version 1 has the memory, and version 2 is there too: its groups tell the pressure. */
static void test_hybrid(UNUSED void **state)
{
    put("/proc/self/cgroup", "4:memory:/pods/x\n1:name=systemd:/\n0::/units/x\n");
    put("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("/sys/fs/cgroup/memory/pods/x/memory.usage_in_bytes", "41943040\n");
    put("/sys/fs/cgroup/memory/pods/x/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/pods/x/memory.stat",
        "inactive_file 1\ntotal_inactive_file 1048576\n");
    put("/sys/fs/cgroup/memory/pods/memory.usage_in_bytes", "83886080\n");
    put("/sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/memory/pods/memory.stat", "total_inactive_file 0\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/unified/units/x/memory.pressure", "some avg10=4.00 x\nfull avg10=1.00 x\n");
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_usage(m, 80, 100);
    put("/sys/fs/cgroup/memory/pods/x/memory.limit_in_bytes", "41943040\n");
    assert_usage(m, 39, 40);
    uint32_t some = 0, full = 0;
    assert_true(cgroup_memory_pressure(m, &some, &full));
    assert_int_equal(some, 40000);
    (void)cgroup_memory_free(m);
}

/* Docker on version 1: the mount is our group, under a path of the host's. */
static void test_mounted_part(UNUSED void **state)
{
    put("/proc/self/cgroup", "6:memory:/docker/6b5c/inner\n");
    put("/proc/self/mountinfo",
        "700 693 0:34 /docker/6b5c /cg/memory ro - cgroup cgroup rw,memory\n");
    put("/cg/memory/memory.usage_in_bytes", "31457280\n");
    put("/cg/memory/memory.limit_in_bytes", "41943040\n");
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_usage(m, 30, 40); /* ours is not there: the next one */
    (void)cgroup_memory_free(m);
    put("/cg/memory/inner/memory.usage_in_bytes", "10485760\n");
    put("/cg/memory/inner/memory.limit_in_bytes", "11534336\n");
    m = cgroup_memory_open(machine);
    assert_usage(m, 10, 11);
    (void)cgroup_memory_free(m);
    /* Somebody else's part: the mount itself is as near as we get. */
    static const char *const elsewhere[] = {"6:memory:/docker/6b5cx\n", "6:memory:/docker\n",
                                            "6:memory:/docker/6b5c/../7f\n", "6:memory:/../..\n"};
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        put("/proc/self/cgroup", elsewhere[i]);
        m = cgroup_memory_open(machine);
        assert_usage(m, 30, 40);
        (void)cgroup_memory_free(m);
    }
}

static void test_nothing_there(UNUSED void **state)
{
    struct cgroup_usage u;
    uint32_t some, full;
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_false(cgroup_memory_usage(m, &u));
    assert_false(cgroup_memory_pressure(m, &some, &full));
    (void)cgroup_memory_free(m);
    put("/proc/self/cgroup", "0::/a\n");
    m = cgroup_memory_open(machine);
    assert_false(cgroup_memory_usage(m, &u));
    (void)cgroup_memory_free(m);
    /* The group of all, which has no limit. */
    put("/proc/self/mountinfo", "30 23 0:26 / / rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/\n");
    put("/memory.stat", "inactive_file 1\n");
    m = cgroup_memory_open(machine);
    assert_false(cgroup_memory_usage(m, &u));
    (void)cgroup_memory_free(m);
    assert_null(cgroup_memory_free(NULL));
}

/* As deep as any: those nearest are kept, and no descriptor is left behind. */
static void test_many_levels(UNUSED void **state)
{
    char path[300] = "", line[PATH_BYTES], directory[PATH_BYTES];
    put("/proc/self/mountinfo", "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    for (int i = 0; i < 20; i++) {
        (void)snprintf(path + strlen(path), sizeof(path) - strlen(path), "/l%d", i);
        (void)snprintf(directory, sizeof(directory), "/cg%s", path);
        put_v2(directory, "5242880\n", "10485760\n");
    }
    (void)snprintf(line, sizeof(line), "0::%s\n", path);
    put("/proc/self/cgroup", line);
    int before = dup(0);
    struct cgroup_memory *m = cgroup_memory_open(machine);
    assert_usage(m, 4, 10);
    (void)cgroup_memory_free(m);
    int after = dup(0);
    assert_int_equal(after, before + 1);
    (void)close(before);
    (void)close(after);
}

static void test_this_machine(UNUSED void **state)
{
    struct cgroup_usage u = {0};
    struct cgroup_memory *m = cgroup_memory_open("");
    assert_non_null(m);
    if (cgroup_memory_usage(m, &u))
        assert_true(u.limit > 0);
    (void)cgroup_memory_free(m);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_container),    TEST(test_how_often_the_cache_is_looked_at),
        TEST(test_levels_above), TEST(test_hybrid),
        TEST(test_mounted_part), TEST(test_nothing_there),
        TEST(test_many_levels),  TEST(test_this_machine),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
