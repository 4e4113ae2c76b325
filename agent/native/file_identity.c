/* fileIdentity: which file a path leads to. Asks no network or FUSE file system for fresh attributes: whoever
 * runs a program from one of those must not be able to make the agent wait. */
#define _GNU_SOURCE /* statx */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "exports.h"

napi_value ka_file_identity(napi_env env, napi_callback_info info) {
    napi_value argument;
    napi_value result;
    char path[PATH_MAX];
    char text[64];
    struct statx file;

    if (!ka_arguments_get(env, info, 1, &argument) ||
        !ka_argument_string(env, argument, "path", path, sizeof path))
        return NULL;
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &file) != 0)
        return ka_throw_errno(env, errno, "statx");
    snprintf(text, sizeof text, "%" PRIu32 ":%" PRIu32 " %" PRIu64, (uint32_t)file.stx_dev_major,
             (uint32_t)file.stx_dev_minor, (uint64_t)file.stx_ino);
    return napi_create_string_latin1(env, text, NAPI_AUTO_LENGTH, &result) == napi_ok ? result : NULL;
}
