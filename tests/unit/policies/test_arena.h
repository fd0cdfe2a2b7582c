/* test_arena.h - what a group of tests allocates goes when it is over. */
#ifndef SLUICE_TESTS_UNIT_POLICIES_TEST_ARENA_H
#define SLUICE_TESTS_UNIT_POLICIES_TEST_ARENA_H

#include "base/arena.h"
#include "base/check.h"

static struct arena *arena;

static int arena_set_up(UNUSED void **state)
{
    arena = arena_new();
    return arena ? 0 : -1;
}

static int arena_tear_down(UNUSED void **state)
{
    arena = arena_free(arena);
    return 0;
}

#endif
