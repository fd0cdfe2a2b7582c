/* man.c - text for man(7): escaped, and never taken for a request. */
#include "man.h"

#include <string.h>

static void escaped(FILE *to, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        switch (text[i]) {
        case '\\':
            (void)fputs("\\e", to);
            break;
        case '-':
            (void)fputs("\\-", to);
            break;
        case '\'':
            (void)fputs("\\(aq", to);
            break;
        case '`':
            (void)fputs("\\(ga", to);
            break;
        case '^':
            (void)fputs("\\(ha", to);
            break;
        case '~':
            (void)fputs("\\(ti", to);
            break;
        default:
            (void)fputc(text[i], to);
            break;
        }
    }
}

void man_text(FILE *to, const char *text)
{
    escaped(to, text, strlen(text));
}

void man_lines(FILE *to, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n == 0) {
            (void)fputs(".PP\n", to);
        } else {
            if (*text == '.')
                (void)fputs("\\&", to); /* a dot in front would be a request */
            escaped(to, text, n);
            (void)fputc('\n', to);
        }
        text += n;
        if (*text == '\n') /* the end of this line */
            text++;
    }
}
