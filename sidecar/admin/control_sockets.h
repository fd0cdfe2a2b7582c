/* control_sockets.h - the listening sockets of the process, by address.
 *
 * The control thread owns their descriptors; workers' listeners borrow them. The supervisor holds a
 * copy of each, so that the next serving process finds them. Closing one resets nobody: the
 * supervisor's copy goes, new SYNs are dropped for a moment while handshakes under way finish, the
 * workers empty the backlog, then the descriptor goes. */
#ifndef SLUICE_ADMIN_CONTROL_SOCKETS_H
#define SLUICE_ADMIN_CONTROL_SOCKETS_H

#include "config/build.h"

struct control;

enum socket_state {
    SOCKET_LISTENS,
    SOCKET_FRESH,   /* opened for a configuration that is not in force yet */
    SOCKET_MARKED,  /* to be closed in the next round */
    SOCKET_CLOSING, /* in the round that runs */
};

struct control_socket {
    struct control_socket *next;
    int fd;
    enum socket_state state;
    enum direction direction;
    bool inherited; /* it was open before us, and may be another process's too */
    uint32_t backlog;
    struct address address;
    char name[ADDRESS_TEXT_MAX]; /* the supervisor's word for it */
};

/* A listening socket for an address: one that we were started with (*ret_inherited), or bound now
 * and sent up to the supervisor. The caller's to close. Or -errno. */
int control_listen(struct control *c, const struct address *a, int backlog, unsigned mode,
                   bool *ret_inherited);

/* Opens what `conf` has and is not open yet. 0, or -errno with the mistake at its place in
 * `problems`, and nothing has been opened. */
int control_open_listeners(struct control *c, const struct conf *conf,
                           struct config_problems *problems);
/* `conf` is not taken: what was bound for it is closed. What was inherited stays open, for the
 * configuration that stands in, or for the process that comes next. */
void control_close_fresh(struct control *c);
/* `conf` is in force: what it does not have is marked. */
void control_keep_listeners(struct control *c, const struct conf *conf);
/* The descriptor behind a listener; -1 when it is closed. */
int control_listener_fd(const struct control *c, const struct conf_listener *l);

/* Marks what a drain closes, for control_close_marked(). */
void control_mark_direction(struct control *c, enum direction d);
/* Closes what is marked, in rounds; reload and drain are told when nothing is left. False:
 * nothing is marked. */
bool control_close_marked(struct control *c);
/* Closes those of a direction that no worker looks at any more, at once. */
void control_close_unused(struct control *c, enum direction d);
/* At the end of the process. */
void control_close_sockets(struct control *c);

#endif
