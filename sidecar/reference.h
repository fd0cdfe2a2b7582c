/* reference.h - every key of the configuration, printed from its schema. */
#ifndef SLUICE_REFERENCE_H
#define SLUICE_REFERENCE_H

#include <stdio.h>

/* docs/guide/reference.md */
void reference_print_markdown(FILE *to);
/* sluice.yaml(5), in man(7) */
void reference_print_man(FILE *to);

#endif
