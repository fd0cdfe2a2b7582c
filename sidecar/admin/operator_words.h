/* operator_words.h - what operators said of endpoints and breakers, in the supervisor's hands: the
 * next serving process, of an upgrade or after a crash, begins with it. The control thread's. */
#ifndef SLUICE_ADMIN_OPERATOR_WORDS_H
#define SLUICE_ADMIN_OPERATOR_WORDS_H

struct control;

/* After each word, and each configuration that comes into force (which takes an upstream's words
 * away with the upstream). Says in the log where it fails. */
void operator_words_hold(struct control *c);
/* Of the process before us, at the start: the first generation is made, and no worker has it. */
void operator_words_take(struct control *c);

#endif
