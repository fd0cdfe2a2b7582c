/* man.h - text for man(7): escaped, and never taken for a request. */
#ifndef SLUICE_MAN_H
#define SLUICE_MAN_H

#include <stdio.h>

/* Inside a line. */
void man_text(FILE *to, const char *text);
/* Lines of their own; "\n\n" begins a paragraph. */
void man_lines(FILE *to, const char *text);

#endif
