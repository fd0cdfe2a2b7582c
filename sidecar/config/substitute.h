/* substitute.h - ${NAME} and ${NAME:-default} in values, from the environment.
 *
 * Done on the tree, after YAML: what a variable holds is text of one scalar, and never becomes a
 * key, a list or a comment. $${ stands for ${ itself; any other $ is as it stands. As in a POSIX
 * shell (XCU §2.6.2), :- takes its default where the variable is unset or empty; ${NAME} of one
 * that is unset is a mistake. A default holds no ${. Keys are left alone.
 *
 * A value may be a secret. The node keeps what the file says in `raw`, and messages, logs and diffs
 * show that (yaml_shown()). */
#ifndef SLUICE_CONFIG_SUBSTITUTE_H
#define SLUICE_CONFIG_SUBSTITUTE_H

#include "config/yaml_tree.h"

enum { SUBSTITUTE_BYTES_MAX = 64 * 1024 };

/* Of every scalar at and below root. Mistakes go to `problems` at the place of their "${", and the
 * node is broken. `text` is what the tree was read from, for these places. */
void substitute_tree(struct arena *a, struct yaml_node *root, struct str text,
                     const struct config_env *env, struct config_problems *problems);

#endif
