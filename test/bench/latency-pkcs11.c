/* A PKCS#11 module around SoftHSM that makes each signature take a fixed time, as a token at a distance does: the
 * caller's thread sleeps for what is left of it, and the processor is free meanwhile.
 *
 *     KEYAGENT_BENCH_LATENCY_US  what C_Sign takes, in microseconds
 *
 * Functions that are not wrapped are the real module's own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../agent/native/pkcs11_abi.h"

static const char real_module[] = "/usr/lib/softhsm/libsofthsm2.so";

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST wrapped;
static long latency_ns;

static CK_RV wrapped_C_Sign(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out,
                            CK_ULONG *out_len) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += latency_ns;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    const CK_RV rv = real->C_Sign(session, in, in_len, out, out_len);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
        continue;
    return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static void wrap(void) {
    CK_C_GetFunctionList get_function_list;
    const char *latency = getenv("KEYAGENT_BENCH_LATENCY_US");
    void *module = dlopen(real_module, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module == NULL ? NULL : dlsym(module, "C_GetFunctionList");
    if (symbol == NULL || latency == NULL) {
        fprintf(stderr, "latency-pkcs11: %s\n", latency == NULL ? "KEYAGENT_BENCH_LATENCY_US is not set" : dlerror());
        return;
    }
    latency_ns = strtol(latency, NULL, 10) * 1000;
    memcpy(&get_function_list, &symbol, sizeof get_function_list);
    if (get_function_list(&real) != CKR_OK) return;
    wrapped = *real;
    wrapped.C_GetFunctionList = C_GetFunctionList;
    wrapped.C_Sign = wrapped_C_Sign;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    pthread_once(&once, wrap);
    if (real == NULL) return CKR_GENERAL_ERROR;
    *list = &wrapped;
    return CKR_OK;
}
