/* UTF-8 as RFC 3629 has it: shortest form, no surrogates, nothing beyond U+10FFFF. */
#ifndef KEYAGENT_UTF8_H
#define KEYAGENT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool ka_utf8_valid(const uint8_t *text, size_t len);
/* Whether it may be a str on the wire: valid, and without a byte order mark in front. */
bool ka_str_valid(const uint8_t *text, size_t len);
/* The longest prefix of valid text that is at most `max` bytes and ends between characters. */
size_t ka_utf8_prefix(const uint8_t *text, size_t len, size_t max);

#endif
