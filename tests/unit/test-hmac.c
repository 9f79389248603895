#include "unit.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "mech/hmac.h"

#define LONGEST 300

static void expected(const uint8_t *key, const uint8_t *message, size_t len, uint8_t *out)
{
    assert_non_null(HMAC(EVP_sha256(), key, HMAC_LEN, message, len, out, NULL));
}

/* Through all ways in which a message can end in a block. */
static void test_hmac_every_length(void **state)
{
    uint8_t key[HMAC_LEN], message[LONGEST], want[HMAC_LEN], got[HMAC_LEN];
    struct hmac_key made;

    (void)state;
    RAND_bytes(key, sizeof(key));
    RAND_bytes(message, sizeof(message));
    hmac_key(key, &made);
    for (size_t len = 0; len <= LONGEST; len++) {
        expected(key, message, len, want);
        hmac(&made, (struct view){ message, len }, got);
        assert_memory_equal(got, want, HMAC_LEN);
    }
}

static void test_hmac_lanes_do_not_mix(void **state)
{
    uint8_t key[HMAC_LEN], text[HMAC_LANES][LONGEST], want[HMAC_LEN], got[HMAC_LANES * HMAC_LEN];
    const uint8_t *messages[HMAC_LANES];
    struct hmac_key made;

    (void)state;
    RAND_bytes(key, sizeof(key));
    for (size_t i = 0; i < HMAC_LANES; i++) {
        RAND_bytes(text[i], sizeof(text[i]));
        messages[i] = text[i];
    }
    hmac_key(key, &made);
    for (size_t len = 0; len <= LONGEST; len++) {
        hmac_lanes(&made, messages, len, got);
        for (size_t i = 0; i < HMAC_LANES; i++) {
            expected(key, text[i], len, want);
            assert_memory_equal(got + i * HMAC_LEN, want, HMAC_LEN);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hmac_every_length),
        cmocka_unit_test(test_hmac_lanes_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
