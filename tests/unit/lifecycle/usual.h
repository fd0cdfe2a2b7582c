/* usual.h - the lifecycle that tests of the drain and of its budget begin with. */
#ifndef TESTS_UNIT_LIFECYCLE_USUAL_H
#define TESTS_UNIT_LIFECYCLE_USUAL_H

#include "config/config.h"
#include "sim_time.h"

static const struct conf_lifecycle usual = {
    .notice_period = SEC(5),
    .drain_timeout = SEC(20),
    .last_call = SEC(1),
    .app_cleanup = SEC(10),
};

#endif
