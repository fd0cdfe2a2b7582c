/* misfit.c - a program that an upgrade must not fall for: it does what the file "misfit" beside it
 * says. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    char path[4096], word[16] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n < 0)
        return 9;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) + sizeof("/misfit") > sizeof(path))
        return 9;
    memcpy(slash, "/misfit", sizeof("/misfit"));
    FILE *f = fopen(path, "re");
    if (!f || !fgets(word, sizeof(word), f))
        return 9;
    (void)fclose(f);
    if (strcmp(word, "crash") == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit */
        (void)raise(SIGSEGV);
    }
    if (strcmp(word, "hang") == 0) {
        for (;;)
            (void)pause();
    }
    return 7;
}
