/* proc_text.h - what the kernel writes in files of /proc and of cgroups: text in, numbers and paths
 * out, no file is opened here.
 *
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst,
 * Documentation/accounting/psi.rst, proc(5). */
#ifndef SLUICE_IO_PROC_TEXT_H
#define SLUICE_IO_PROC_TEXT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROC_PATH_MAX = 4096 };

/* Which hierarchy of control groups counts memory. */
enum cgroup_version { CGROUP_V1, CGROUP_V2 };

/* Of /proc/self/cgroup: where in the hierarchy the process is, "/" or "/a/b", within the text.
 * Version 1: that of the memory controller. False: it is in none. */
bool proc_text_cgroup(struct str text, enum cgroup_version v, struct str *ret);

/* Of /proc/self/mountinfo: the first place where that hierarchy is mounted, and which part of it
 * (octal escapes are resolved). Each has PROC_PATH_MAX bytes, and a NUL. False: nowhere. */
bool proc_text_mount(struct str text, enum cgroup_version v, char *ret_root, char *ret_point);

/* A number alone in its file; UINT64_MAX: "max", or as much as version 1 has for "no limit". False:
 * it is something else. */
bool proc_text_number(struct str text, uint64_t *ret);

/* Of memory.stat: the number behind the key. */
bool proc_text_stat(struct str text, struct str key, uint64_t *ret);

/* Of a pressure file: avg10 of its line `kind` ("some", "full"), in parts per million of the time.
 */
bool proc_text_pressure(struct str text, struct str kind, uint32_t *ret_ppm);

#endif
