/* last_good.c - a copy on disk of the last configuration that was taken. */
#include "config/last_good.h"

#include "base/check.h"
#include "base/mem.h"
#include "config/file_text.h"
#include "config/yaml_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

static const char file_name[] = "last-good.yaml";
static const char temporary[] = ".last-good.XXXXXX"; /* no fixed name: two may save at a time */

/* dir/name; false: no path can be so long. */
static bool join(const char *dir, const char *name, char *out)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < PATH_MAX;
}

const char *last_good_path(const char *dir, char *out)
{
    (void)join(dir, file_name, out);
    return out;
}

static int write_all(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = write(fd, text, n);
        if (sent < 0 && errno != EINTR)
            return -errno;
        if (sent > 0) {
            text += sent;
            n -= (size_t)sent;
        }
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system that has no such thing */
        rc = -errno;
    (void)close(fd);
    return rc;
}

int last_good_save(const char *dir, const char *text, size_t n)
{
    char path[PATH_MAX], new_path[PATH_MAX];
    int rc;

    if (!join(dir, file_name, path) || !join(dir, temporary, new_path))
        return -ENAMETOOLONG;
    int fd = mkostemp(new_path, O_CLOEXEC); /* of mode 0600 */
    if (fd < 0)
        return -errno;
    rc = write_all(fd, text, n);
    if (close(fd) < 0 && rc == 0) /* some network file systems say here that the disk is full */
        rc = -errno;
    if (rc == 0 && rename(new_path, path) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)unlink(new_path);
        return rc;
    }
    return sync_directory(dir);
}

char *last_good_load(const char *dir, size_t *ret_n, int *ret_error)
{
    char path[PATH_MAX];

    if (!join(dir, file_name, path)) {
        *ret_error = -ENAMETOOLONG;
        return NULL;
    }
    return file_text_read(path, YAML_TREE_BYTES, ret_n, ret_error);
}

void config_digest(const char *text, size_t n, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    out[0] = '\0';
    if (EVP_Digest(text, n, digest, &len, EVP_sha256(), NULL) != 1)
        return;
    for (unsigned int i = 0; i < len; i++)
        (void)snprintf(out + (size_t)i * 2, 3, "%02x", digest[i]);
}
