#include "unit.h"

#include <openssl/bn.h>

#include "ops/params.h"

struct context {
    int first;
    unsigned number;
    size_t size;
    struct bytes octets;
    const struct digest *digest;
    char order[8]; /* the setters that were called */
};

static int set_a(void *vctx, const OSSL_PARAM *p)
{
    struct context *ctx = vctx;

    (void)p;
    strcat(ctx->order, "a");
    return 1;
}

static int set_b(void *vctx, const OSSL_PARAM *p)
{
    struct context *ctx = vctx;

    strcat(ctx->order, "b");
    return OSSL_PARAM_get_int(p, &ctx->first);
}

#define AT(member, type) FIELD(struct context, member, type)

#define SETTABLE(ROW)                                                                              \
    ROW("a", utf8_string, set_a, WHOLE)                                                            \
    ROW("b", int, set_b, WHOLE)                                                                    \
    ROW("ignored", utf8_string, param_ignore, WHOLE)                                               \
    ROW("number", uint, param_set_uint, AT(number, unsigned))                                      \
    ROW("size", size_t, param_set_size, AT(size, size_t))                                          \
    ROW("octets", octet_string, param_set_octets, AT(octets, struct bytes))

#define GETTABLE(ROW)                                                                              \
    ROW("first", int, param_get_int, AT(first, int))                                               \
    ROW("number", uint, param_get_uint, AT(number, unsigned))                                      \
    ROW("size", size_t, param_get_size, AT(size, size_t))                                          \
    ROW("octets", octet_ptr, param_get_octets, AT(octets, struct bytes))                           \
    ROW("big", BN, param_get_number, AT(octets, struct bytes))                                     \
    ROW("digest", utf8_string, param_get_digest, AT(digest, const struct digest *))

PARAM_SETTERS(setters, SETTABLE);
PARAM_GETTERS(getters, GETTABLE);
PARAM_LIST(settable, SETTABLE);
PARAM_LIST(gettable, GETTABLE);

static void test_params_lists_are_the_rows(void **state)
{
    static const struct {
        const char *name;
        unsigned type;
        size_t size;
    } rows[] = {
        { "first", OSSL_PARAM_INTEGER, sizeof(int) },
        { "number", OSSL_PARAM_UNSIGNED_INTEGER, sizeof(unsigned) },
        { "size", OSSL_PARAM_UNSIGNED_INTEGER, sizeof(size_t) },
        { "octets", OSSL_PARAM_OCTET_PTR, 0 },
        { "big", OSSL_PARAM_UNSIGNED_INTEGER, 0 },
        { "digest", OSSL_PARAM_UTF8_STRING, 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check_text(gettable[i].key, rows[i].name, rows[i].name);
        check_text(getters[i].name, rows[i].name, rows[i].name);
        check_case(gettable[i].data_type == rows[i].type, rows[i].name);
        check_case(gettable[i].data_size == rows[i].size, rows[i].name);
    }
    assert_null(gettable[COUNT_OF(rows)].key);
    assert_null(getters[COUNT_OF(rows)].name);
    assert_string_equal(settable[0].key, "a");
    assert_null(settable[6].key);
}

static void test_params_set_in_the_order_of_the_rows(void **state)
{
    char text[] = "x";
    int one = 1;
    struct context ctx = { .first = 0 };
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string("unknown", text, 0),
        OSSL_PARAM_construct_int("b", &one),
        OSSL_PARAM_construct_utf8_string("ignored", text, 0),
        OSSL_PARAM_construct_utf8_string("a", text, 0),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(params_set(setters, &ctx, params), 1);
    assert_string_equal(ctx.order, "ab");
    assert_int_equal(ctx.first, 1);
    assert_int_equal(params_set(setters, &ctx, NULL), 1);
}

static void test_params_stop_at_what_is_not_fit(void **state)
{
    char text[] = "x";
    unsigned two = 2;
    struct context ctx = { .number = 1 };
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint("number", &two),
        OSSL_PARAM_construct_utf8_string("b", text, 0),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(params_set(setters, &ctx, params), 0);
    assert_int_equal(ctx.number, 1);
}

static void test_params_fields_there_and_back(void **state)
{
    uint8_t octets[] = { 1, 2 };
    unsigned number = 7, number_back = 0;
    size_t size = 8, size_back = 0;
    char digest[32];
    void *pointer = NULL;
    BIGNUM *big = NULL;
    uint8_t big_back[8];
    struct context ctx = { .digest = digest_find("SHA256") };
    const OSSL_PARAM in[] = {
        OSSL_PARAM_construct_uint("number", &number),
        OSSL_PARAM_construct_size_t("size", &size),
        OSSL_PARAM_construct_octet_string("octets", octets, sizeof(octets)),
        OSSL_PARAM_construct_end(),
    };
    OSSL_PARAM out[] = {
        OSSL_PARAM_construct_uint("number", &number_back),
        OSSL_PARAM_construct_size_t("size", &size_back),
        OSSL_PARAM_construct_octet_ptr("octets", &pointer, 0),
        OSSL_PARAM_construct_BN("big", big_back, sizeof(big_back)),
        OSSL_PARAM_construct_utf8_string("digest", digest, sizeof(digest)),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(params_set(setters, &ctx, in), 1);
    assert_int_equal(params_get(getters, &ctx, out), 1);
    assert_int_equal(number_back, 7);
    assert_int_equal(size_back, 8);
    assert_int_equal(out[2].return_size, 2);
    assert_memory_equal(pointer, octets, 2);
    assert_int_equal(OSSL_PARAM_get_BN(&out[3], &big), 1);
    assert_int_equal(BN_get_word(big), 0x0102);
    assert_string_equal(digest, "SHA2-256");
    BN_free(big);
    bytes_clear(&ctx.octets);
}

static void test_params_without_an_answer(void **state)
{
    uint8_t big[8];
    char digest[32] = "x";
    struct context ctx = { .digest = NULL };
    OSSL_PARAM none[] = {
        OSSL_PARAM_construct_utf8_string("digest", digest, sizeof(digest)),
        OSSL_PARAM_construct_end(),
    };
    OSSL_PARAM number[] = {
        OSSL_PARAM_construct_BN("big", big, sizeof(big)),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(params_get(getters, &ctx, none), 1);
    assert_string_equal(digest, "");
    assert_int_equal(params_get(getters, &ctx, number), 0);
}

/* A text that is NULL is none. */
static void test_params_null_texts(void **state)
{
    static const struct named_number names[] = { { "one", 1 }, { NULL, 0 } };
    const OSSL_PARAM null = OSSL_PARAM_construct_utf8_string("text", NULL, 0);
    const char *text = "";
    int number;

    (void)state;
    assert_false(text_param_get(&null, &text));
    assert_false(named_number_get(&null, names, &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_lists_are_the_rows),
        cmocka_unit_test(test_params_set_in_the_order_of_the_rows),
        cmocka_unit_test(test_params_stop_at_what_is_not_fit),
        cmocka_unit_test(test_params_fields_there_and_back),
        cmocka_unit_test(test_params_without_an_answer),
        cmocka_unit_test(test_params_null_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
