/* Constant time, judged by valgrind's memcheck: the encoded messages are marked as never set, so that
 * memcheck reports every branch that depends on them and every address computed from them. With the argument
 * "branch" it does one on purpose, to show that memcheck would see it. */
#include <stdio.h>
#include <string.h>

#include "../../native/constant_time.h"
#include "../../native/oaep.h"
#include "../../native/tls_premaster.h"

enum { EM_LEN = 256, MESSAGE_LEN = 32 };

static void premaster_run(void) {
    uint8_t em[EM_LEN], fallback[KA_TLS_PREMASTER_LEN] = {0}, out[KA_TLS_PREMASTER_LEN];
    memset(em, 0xa5, sizeof em);
    VALGRIND_MAKE_MEM_UNDEFINED(em, sizeof em);
    ka_tls_premaster_decode(em, sizeof em, fallback, 0x0303, 0x0303, out);
}

/* A right encoding goes through the longest path; the outcome is the only thing told. */
static bool oaep_run(const struct ka_hash *hash) {
    uint8_t em[EM_LEN] = {0}, out[EM_LEN];
    size_t out_len;
    uint8_t *seed = em + 1;
    uint8_t *db = seed + hash->len;
    const size_t db_len = EM_LEN - hash->len - 1;
    hash->digest(NULL, 0, db);
    db[db_len - MESSAGE_LEN - 1] = 0x01;
    ka_mgf1_xor(hash, seed, hash->len, db, db_len);
    ka_mgf1_xor(hash, db, db_len, seed, hash->len);
    VALGRIND_MAKE_MEM_UNDEFINED(em, sizeof em);
    return ka_oaep_decode(em, sizeof em, hash, out, &out_len) && out_len == MESSAGE_LEN;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"sha1", "sha256", "sha384", "sha512"};
    volatile uint8_t secret = 1;

    if (argc > 1 && strcmp(argv[1], "branch") == 0) {
        VALGRIND_MAKE_MEM_UNDEFINED(&secret, sizeof secret);
        if (secret == 1) puts("branched on a secret");
        return 0;
    }
    premaster_run();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!oaep_run(ka_hash_find(names[i]))) return 2;
    return 0;
}
