#include "lies.h"

#include <string.h>

#define LIES_MOST 16

static struct lie lies[LIES_MOST];
static size_t lie_count;
static const uint8_t *content;
static size_t content_len;
static _Atomic unsigned calls[FUNCTIONS];
static const struct lie honest_lie;
static _Thread_local const struct lie *now = &honest_lie;

void lies_begin(const uint8_t *bytes, size_t count, const uint8_t *tail, size_t tail_len)
{
    lie_count = count < LIES_MOST ? count : LIES_MOST;
    for (size_t i = 0; i < lie_count; i++, bytes += LIE_LEN)
        lies[i] = (struct lie){ bytes[0] % FUNCTIONS, bytes[1], bytes[2] % LIE_KINDS, bytes[3],
                                bytes[4] };
    content = tail;
    content_len = tail_len;
    for (size_t i = 0; i < FUNCTIONS; i++)
        calls[i] = 0;
    now = &honest_lie;
}

bool lies_about(enum function function)
{
    for (size_t i = 0; i < lie_count; i++)
        if (lies[i].kind != HONEST && lies[i].function == function)
            return true;
    return false;
}

bool lies_missing(enum function function)
{
    for (size_t i = 0; i < lie_count; i++)
        if (lies[i].kind == MISSING && lies[i].function == function)
            return true;
    return false;
}

const struct lie *lie_begin(enum function function)
{
    unsigned call = calls[function]++;

    now = &honest_lie;
    for (size_t i = 0; i < lie_count && now == &honest_lie; i++)
        if (lies[i].function == function && (lies[i].call == call || lies[i].call >= ALL))
            now = &lies[i];
    return now;
}

const struct lie *lie_now(void)
{
    return now;
}

bool lie_is(enum lie_kind kind)
{
    return now->kind == kind;
}

/* What modules return, and what none should. */
static ck_rv_t answer(uint8_t arg)
{
    static const ck_rv_t answers[] = {
        CKR_OK,
        CKR_HOST_MEMORY,
        CKR_SLOT_ID_INVALID,
        CKR_GENERAL_ERROR,
        CKR_FUNCTION_FAILED,
        CKR_ARGUMENTS_BAD,
        CKR_NO_EVENT,
        CKR_CANT_LOCK,
        CKR_ATTRIBUTE_READ_ONLY,
        CKR_ATTRIBUTE_SENSITIVE,
        CKR_ATTRIBUTE_TYPE_INVALID,
        CKR_ATTRIBUTE_VALUE_INVALID,
        CKR_DATA_INVALID,
        CKR_DATA_LEN_RANGE,
        CKR_DEVICE_ERROR,
        CKR_DEVICE_MEMORY,
        CKR_DEVICE_REMOVED,
        CKR_ENCRYPTED_DATA_INVALID,
        CKR_ENCRYPTED_DATA_LEN_RANGE,
        CKR_FUNCTION_CANCELED,
        CKR_FUNCTION_NOT_SUPPORTED,
        CKR_KEY_HANDLE_INVALID,
        CKR_KEY_SIZE_RANGE,
        CKR_KEY_TYPE_INCONSISTENT,
        CKR_KEY_FUNCTION_NOT_PERMITTED,
        CKR_MECHANISM_INVALID,
        CKR_MECHANISM_PARAM_INVALID,
        CKR_OBJECT_HANDLE_INVALID,
        CKR_OPERATION_ACTIVE,
        CKR_OPERATION_NOT_INITIALIZED,
        CKR_PIN_INCORRECT,
        CKR_PIN_INVALID,
        CKR_PIN_LEN_RANGE,
        CKR_PIN_EXPIRED,
        CKR_PIN_LOCKED,
        CKR_SESSION_CLOSED,
        CKR_SESSION_COUNT,
        CKR_SESSION_HANDLE_INVALID,
        CKR_SESSION_READ_ONLY,
        CKR_SESSION_EXISTS,
        CKR_SIGNATURE_INVALID,
        CKR_SIGNATURE_LEN_RANGE,
        CKR_TEMPLATE_INCOMPLETE,
        CKR_TEMPLATE_INCONSISTENT,
        CKR_TOKEN_NOT_PRESENT,
        CKR_TOKEN_NOT_RECOGNIZED,
        CKR_TOKEN_WRITE_PROTECTED,
        CKR_USER_ALREADY_LOGGED_IN,
        CKR_USER_NOT_LOGGED_IN,
        CKR_USER_PIN_NOT_INITIALIZED,
        CKR_USER_TYPE_INVALID,
        CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
        CKR_DOMAIN_PARAMS_INVALID,
        CKR_BUFFER_TOO_SMALL,
        CKR_CRYPTOKI_NOT_INITIALIZED,
        CKR_CRYPTOKI_ALREADY_INITIALIZED,
        CKR_VENDOR_DEFINED,
        CKR_VENDOR_DEFINED | 0x50313102UL, /* one of the provider's own */
        CKR_VENDOR_DEFINED | 0x50313110UL,
        0x7777,
        ~0UL,
    };
    const size_t count = sizeof(answers) / sizeof(answers[0]);

    return arg < 2 * count ? answers[arg % count] : CKR_VENDOR_DEFINED | 0x50313100UL | arg;
}

bool lie_answers(ck_rv_t *rv)
{
    *rv = answer(now->arg);
    return now->kind == ANSWER;
}

ck_rv_t lie_answer(ck_rv_t honest)
{
    return now->kind == ANSWER_AFTER ? answer(now->arg) : honest;
}

static unsigned long number(unsigned long honest, unsigned long room)
{
    const unsigned long numbers[] = { 0,
                                      1,
                                      2,
                                      3,
                                      honest - 1,
                                      honest + 1,
                                      2 * honest,
                                      honest / 2,
                                      room,
                                      room - 1,
                                      room + 1,
                                      2 * room,
                                      honest + room,
                                      4,
                                      7,
                                      8,
                                      9,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x101,
                                      0x10000,
                                      1UL << 20,
                                      (1UL << 20) + 1,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      1UL << 32,
                                      (1UL << 32) + 8,
                                      ~0UL / 8,
                                      ~0UL / 8 + 2,
                                      ~0UL / 2,
                                      ~0UL / 2 + 1,
                                      ~0UL - 7,
                                      ~0UL - 1,
                                      ~0UL };
    const size_t count = sizeof(numbers) / sizeof(numbers[0]);

    return now->arg < 3 * count ? numbers[now->arg % count] : honest ^ 1UL << now->arg % 64;
}

unsigned long lie_number(unsigned long honest)
{
    switch (now->kind) {
    case LENGTH:
        return number(honest, honest);
    case EMPTY:
        return 0;
    case NOT_THERE:
        return ~0UL;
    default:
        return honest;
    }
}

/* Up to size bytes of the end of the input, from arg on; and again from there. */
static void content_copy(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = content_len != 0 ? content[(now->arg + i) % content_len] : now->arg;
}

static const struct {
    const char *name;
    ck_attribute_type_t type;
} types[] = {
    { "CKA_VALUE", CKA_VALUE },
    { "VALUE_OF_SECRET", VALUE_OF_SECRET },
    { "CKA_PARAMETER_SET", 0x61d }, /* newer than p11-kit's name for it */
    { "CKA_VALUE_LEN", CKA_VALUE_LEN },
    { "CKA_MODULUS", CKA_MODULUS },
    { "CKA_PUBLIC_EXPONENT", CKA_PUBLIC_EXPONENT },
    { "CKA_EC_PARAMS", CKA_EC_PARAMS },
    { "CKA_EC_POINT", CKA_EC_POINT },
    { "CKA_CLASS", CKA_CLASS },
    { "CKA_KEY_TYPE", CKA_KEY_TYPE },
    { "CKA_ID", CKA_ID },
    { "CKA_LABEL", CKA_LABEL },
    { "CKA_CHECK_VALUE", CKA_CHECK_VALUE },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

const char *lie_type_name(unsigned number)
{
    return number < TYPES ? types[number].name : NULL;
}

static bool concerns(unsigned long index)
{
    return now->which >= ALL || index == ~0UL || now->which == index;
}

static bool concerns_type(ck_attribute_type_t type)
{
    return now->which >= BY_TYPE && now->which < BY_TYPE + TYPES &&
           types[now->which - BY_TYPE].type == type;
}

static ck_rv_t bytes_honest(void *out, unsigned long *len, const void *value,
                            unsigned long value_len)
{
    unsigned long room = *len;

    *len = value_len;
    if (out == NULL)
        return CKR_OK;
    if (room < value_len)
        return CKR_BUFFER_TOO_SMALL;
    if (value_len != 0)
        memcpy(out, value, value_len);
    return CKR_OK;
}

static ck_rv_t bytes(bool concerned, void *out, unsigned long *len, const void *value,
                     unsigned long value_len)
{
    unsigned long room = *len;
    ck_rv_t rv = bytes_honest(out, len, value, value_len);

    if (!concerned)
        return rv;
    switch (now->kind) {
    case LENGTH:
        *len = number(value_len, room);
        return CKR_OK;
    case EMPTY:
        *len = 0;
        return CKR_OK;
    case NOT_THERE:
        *len = ~0UL;
        return now->arg % 2 != 0 ? CKR_OK : CKR_ATTRIBUTE_TYPE_INVALID;
    case FILL:
        *len = room;
        if (out != NULL)
            memset(out, now->arg, room);
        return CKR_OK;
    case CONTENT:
        *len = content_len < room ? content_len : room;
        if (out != NULL)
            content_copy(out, *len);
        return CKR_OK;
    case FLIP:
        if (rv == CKR_OK && out != NULL && value_len != 0)
            ((uint8_t *)out)[now->arg % value_len] ^= 0x81;
        return rv;
    default:
        return rv;
    }
}

ck_rv_t lie_bytes(unsigned long index, void *out, unsigned long *len, const void *value,
                  unsigned long value_len)
{
    return bytes(concerns(index), out, len, value, value_len);
}

ck_rv_t lie_attribute(unsigned long index, ck_attribute_type_t type, void *out, unsigned long *len,
                      const void *value, unsigned long value_len)
{
    return bytes(concerns(index) || concerns_type(type), out, len, value, value_len);
}

void lie_structure(void *out, size_t size)
{
    if (now->kind == FLIP)
        ((uint8_t *)out)[(256UL * now->which + now->arg) % size] ^= 0x81;
    else if (now->kind == FILL)
        memset(out, now->arg, size);
    else if (now->kind == CONTENT)
        content_copy(out, size);
}
