/* Masks for code whose branches and addresses must not depend on secrets: all ones is true, zero is false.
 * The barrier keeps the compiler from turning a mask back into a branch. KA_CT_DECLASSIFY marks the one value
 * that may be branched on afterwards; the valgrind test gives it a meaning (see
 * test/native/constant_time_test.c). */
#ifndef KA_CONSTANT_TIME_H
#define KA_CONSTANT_TIME_H

#include <stdint.h>

#ifdef KA_CT_VALGRIND
#include <valgrind/memcheck.h>
#define KA_CT_DECLASSIFY(value) VALGRIND_MAKE_MEM_DEFINED(&(value), sizeof(value))
#else
#define KA_CT_DECLASSIFY(value) ((void)0)
#endif

static inline uint32_t ka_ct_barrier(uint32_t value) {
    __asm__("" : "+r"(value));
    return value;
}

static inline uint32_t ka_ct_is_zero(uint32_t value) {
    value = ka_ct_barrier(value);
    return (uint32_t)0 - ((~value & (value - 1)) >> 31);
}

static inline uint32_t ka_ct_equal(uint32_t a, uint32_t b) {
    return ka_ct_is_zero(a ^ b);
}

static inline uint32_t ka_ct_select(uint32_t mask, uint32_t if_true, uint32_t if_false) {
    mask = ka_ct_barrier(mask);
    return (mask & if_true) | (~mask & if_false);
}

#endif
