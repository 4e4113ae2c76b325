/* cmocka, with what it wants included before it, and what every test wants. */
#ifndef KEYAGENT_CHECK_H
#define KEYAGENT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "reader.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A string literal's bytes, NUL bytes inside it too. */
#define BYTES(text) ((struct ka_span){(const uint8_t *)(text), sizeof(text) - 1})

#endif
