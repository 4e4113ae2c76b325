/*
 * OSSL_PARAM: reading and filling entries. Integers are native-endian and of any width (OSSL_PARAM(3)).
 */
#include <string.h>
#include "param.h"

#define BIG_ENDIAN_HOST (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)

const OSSL_PARAM *kp_param_find(const OSSL_PARAM *params, const char *key) {
    for (; params != NULL && params->key != NULL; params++)
        if (strcmp(params->key, key) == 0) return params;
    return NULL;
}

bool kp_param_read_int(const OSSL_PARAM *param, int64_t *out) {
    bool is_signed = param->data_type == OSSL_PARAM_INTEGER;
    if (!is_signed && param->data_type != OSSL_PARAM_UNSIGNED_INTEGER) return false;
    if (param->data == NULL || param->data_size == 0 || param->data_size > sizeof(uint64_t)) return false;

    const uint8_t *bytes = param->data;
    size_t top = BIG_ENDIAN_HOST ? 0 : param->data_size - 1;
    uint64_t value = is_signed && (bytes[top] & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < param->data_size; i++)
        value = value << 8 | bytes[BIG_ENDIAN_HOST ? i : param->data_size - 1 - i];
    if (!is_signed && value > INT64_MAX) return false;
    *out = (int64_t)value;
    return true;
}

bool kp_param_read_text(const OSSL_PARAM *param, char *out, size_t capacity) {
    const char *text = NULL;
    if (param->data_type == OSSL_PARAM_UTF8_STRING)
        text = param->data;
    else if (param->data_type == OSSL_PARAM_UTF8_PTR && param->data != NULL)
        text = *(const char *const *)param->data;
    if (text == NULL) return false;

    /* data_size is without the NUL, with it, or more than the text. */
    size_t len = param->data_type == OSSL_PARAM_UTF8_STRING ? strnlen(text, param->data_size) : strlen(text);
    if (len >= capacity) return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

/* The entry that a getter must fill. */
static OSSL_PARAM *find_reply(OSSL_PARAM *params, const char *key) {
    return (OSSL_PARAM *)kp_param_find(params, key);
}

void kp_number_to_native(kp_slice value, uint8_t *out, size_t len) {
    memset(out, 0, len);
    for (size_t i = 0; i < value.len; i++)
        out[BIG_ENDIAN_HOST ? len - 1 - i : i] = value.data[value.len - 1 - i];
}

static bool fill_number(OSSL_PARAM *param, kp_slice value) {
    param->return_size = value.len;
    if (param->data == NULL) return true;
    if (param->data_size < value.len) return false;
    kp_number_to_native(value, param->data, param->data_size);
    param->return_size = param->data_size;
    return true;
}

bool kp_param_reply_uint(OSSL_PARAM *params, const char *key, uint64_t value) {
    OSSL_PARAM *param = find_reply(params, key);
    if (param == NULL) return true;
    if (param->data_type != OSSL_PARAM_INTEGER && param->data_type != OSSL_PARAM_UNSIGNED_INTEGER)
        return false;

    /* The fewest bytes that hold it; a signed entry holds a sign bit of zero too. */
    uint8_t bytes[1 + sizeof(value)] = {0};
    size_t len = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        uint8_t byte = (uint8_t)(value >> shift);
        if (len == 0 && byte == 0 && shift > 0) continue;
        if (len == 0 && byte >= 0x80 && param->data_type == OSSL_PARAM_INTEGER) len = 1;
        bytes[len++] = byte;
    }
    return fill_number(param, (kp_slice){bytes, len});
}

bool kp_param_reply_number(OSSL_PARAM *params, const char *key, kp_slice value) {
    OSSL_PARAM *param = find_reply(params, key);
    if (param == NULL) return true;
    return param->data_type == OSSL_PARAM_UNSIGNED_INTEGER && fill_number(param, value);
}

bool kp_param_reply_text(OSSL_PARAM *params, const char *key, const char *value) {
    OSSL_PARAM *param = find_reply(params, key);
    if (param == NULL) return true;
    size_t len = strlen(value);
    param->return_size = len;
    if (param->data_type == OSSL_PARAM_UTF8_PTR) {
        if (param->data != NULL) *(const char **)param->data = value;
        return true;
    }
    if (param->data_type != OSSL_PARAM_UTF8_STRING) return false;
    if (param->data == NULL) return true;
    if (param->data_size < len) return false;
    memcpy(param->data, value, param->data_size > len ? len + 1 : len);
    return true;
}

bool kp_param_reply_octets(OSSL_PARAM *params, const char *key, kp_slice value) {
    OSSL_PARAM *param = find_reply(params, key);
    if (param == NULL) return true;
    if (param->data_type != OSSL_PARAM_OCTET_STRING) return false;
    param->return_size = value.len;
    if (param->data == NULL) return true;
    if (param->data_size < value.len) return false;
    memcpy(param->data, value.data, value.len);
    return true;
}
