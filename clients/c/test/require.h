/* Failing in a place that is not the test's own thread, where cmocka's asserts cannot be used. */
#ifndef KEYAGENT_REQUIRE_H
#define KEYAGENT_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#define require(condition, what)                                                                             \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);                                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
