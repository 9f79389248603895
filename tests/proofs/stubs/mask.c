/* What the proofs of mech/mgf1.c and mech/hmac.c have shown, in their place: they read and write what they are given. */
#include "proof.h"

#include "mech/hmac.h"
#include "mech/mgf1.h"

bool mgf1_mask(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *bytes, size_t len)
{
    (void)md;
    CHECK(__CPROVER_r_ok(seed, seed_len), "the seed is there");
    CHECK(__CPROVER_w_ok(bytes, len), "what is masked is there");
    __CPROVER_havoc_object(bytes);
    return nondet_bool();
}

void hmac_key(const uint8_t *key, struct hmac_key *out)
{
    CHECK(__CPROVER_r_ok(key, HMAC_LEN) && __CPROVER_w_ok(out, sizeof(*out)), "key and room");
}

void hmac(const struct hmac_key *key, struct view message, uint8_t *out)
{
    CHECK(__CPROVER_r_ok(key, sizeof(*key)), "the key is there");
    CHECK(__CPROVER_r_ok(message.data, message.len), "the message is there");
    CHECK(__CPROVER_w_ok(out, HMAC_LEN), "there is room");
    __CPROVER_havoc_slice(out, HMAC_LEN);
}

void hmac_lanes(const struct hmac_key *key, const uint8_t *const messages[HMAC_LANES], size_t len,
                uint8_t *out)
{
    CHECK(__CPROVER_r_ok(key, sizeof(*key)), "the key is there");
    for (size_t i = 0; i < HMAC_LANES; i++)
        CHECK(__CPROVER_r_ok(messages[i], len), "the message is there");
    CHECK(__CPROVER_w_ok(out, HMAC_LANES * HMAC_LEN), "there is room");
    __CPROVER_havoc_slice(out, HMAC_LANES * HMAC_LEN);
}
