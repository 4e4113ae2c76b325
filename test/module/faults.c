#define _GNU_SOURCE /* strtok_r, st_mtim */
#include "faults.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { RULES_MAX = 64, LINE_MAX_LEN = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Calls that each rule, by its line, has seen since the file last changed. */
static unsigned long calls_seen[RULES_MAX];
static struct stat last_seen;

static bool file_changed(const struct stat *now) {
    return now->st_ino != last_seen.st_ino || now->st_size != last_seen.st_size ||
           now->st_mtim.tv_sec != last_seen.st_mtim.tv_sec ||
           now->st_mtim.tv_nsec != last_seen.st_mtim.tv_nsec;
}

static bool has_prefix(const char *word, const char *prefix, const char **rest) {
    const size_t len = strlen(prefix);
    if (strncmp(word, prefix, len) != 0) return false;
    *rest = word + len;
    return true;
}

struct condition {
    unsigned long skip;
    unsigned long count;
    unsigned long mechanism;
};

/* A test that misspells a rule must not pass: the process ends. */
static void word_parse(const char *word, struct fault *fault, struct condition *condition) {
    const char *value;
    if (has_prefix(word, "rv=", &value)) {
        fault->has_rv = true;
        fault->rv = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "count=", &value)) {
        condition->count = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "skip=", &value)) {
        condition->skip = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "mechanism=", &value)) {
        condition->mechanism = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "sleep_ms=", &value)) {
        fault->sleep_ms = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "flags|=", &value)) {
        fault->flags_or = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "flags&=", &value)) {
        fault->flags_and = strtoul(value, NULL, 0);
    } else if (has_prefix(word, "serial=", &value)) {
        snprintf(fault->serial, sizeof fault->serial, "%s", value);
    } else if (has_prefix(word, "length=", &value)) {
        fault->length = strtoul(value, NULL, 0);
    } else if (strcmp(word, "corrupt=1") == 0) {
        fault->corrupt = true;
    } else if (strcmp(word, "abort=1") == 0) {
        fault->abort = true;
    } else if (strcmp(word, "require_null=1") == 0) {
        fault->require_null = true;
    } else if (strcmp(word, "close_all=1") == 0) {
        fault->close_all = true;
    } else {
        fprintf(stderr, "counting-pkcs11: unknown word in the fault file: %s\n", word);
        abort();
    }
}

/* @return whether the rule is for this function and this call */
static bool rule_applies(char *line, const char *function, unsigned long mechanism, unsigned long *seen,
                         struct fault *fault) {
    struct condition condition = {0, ULONG_MAX, FAULT_NO_MECHANISM};
    char *position = NULL;
    const char *name = strtok_r(line, " \t\r\n", &position);
    if (name == NULL || name[0] == '#' || strcmp(name, function) != 0) return false;

    *fault = (struct fault){.flags_and = ULONG_MAX};
    for (const char *word = strtok_r(NULL, " \t\r\n", &position); word != NULL;
         word = strtok_r(NULL, " \t\r\n", &position))
        word_parse(word, fault, &condition);
    if (condition.mechanism != FAULT_NO_MECHANISM && condition.mechanism != mechanism) return false;
    const unsigned long call = (*seen)++;
    return call >= condition.skip && call - condition.skip < condition.count;
}

struct fault fault_next(const char *function, unsigned long mechanism) {
    static const struct fault none = {.flags_and = ULONG_MAX};
    struct fault fault = none;
    struct stat now;
    char line[LINE_MAX_LEN];
    const char *path = getenv("KEYAGENT_TEST_FAULT_FILE");
    if (path == NULL) return none;

    /* Opened within the lock: a file that another has replaced since would start the counts anew. */
    pthread_mutex_lock(&lock);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        pthread_mutex_unlock(&lock);
        return none;
    }
    if (fstat(fileno(file), &now) == 0 && file_changed(&now)) {
        memset(calls_seen, 0, sizeof calls_seen);
        last_seen = now;
    }
    bool applies = false;
    for (size_t i = 0; !applies && i < RULES_MAX && fgets(line, sizeof line, file) != NULL; i++)
        applies = rule_applies(line, function, mechanism, &calls_seen[i], &fault);
    pthread_mutex_unlock(&lock);
    fclose(file);
    return applies ? fault : none;
}
