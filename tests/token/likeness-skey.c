/* What is asked of an EVP_SKEY itself: brought as bytes, told apart, handed to a provider,
 * exported. */
#include "likeness-secret.h"

#include <openssl/err.h>

static int (*is_of_type)(const SKEY *key, const char *name);
static int (*up_ref)(SKEY *key);
static SKEY *(*to_provider)(SKEY *key, OSSL_LIB_CTX *libctx, OSSL_PROVIDER *provider,
                            const char *properties);
static int (*export_key)(const SKEY *key, int selection, OSSL_CALLBACK *callback, void *arg);
static const char *(*mgmt_name)(const SKEY *key);

static const char *const types[] = { "AES", "AES", "GENERIC-SECRET", "GENERIC-SECRET", "DES", "" };

bool skeys_found(void)
{
    const struct newer functions[] = {
        { "EVP_SKEY_is_a", &is_of_type },
        { "EVP_SKEY_up_ref", &up_ref },
        { "EVP_SKEY_export", &export_key },
        { "EVP_SKEY_to_provider", &to_provider },
        { "EVP_SKEY_get0_skeymgmt_name", &mgmt_name },
    };

    return skey_functions() && newer_found(functions, COUNT_OF(functions));
}

static const char *ours(const struct lane *lane)
{
    return lane->side == TOKEN ? OURS : NULL;
}

static void skey_import(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 15, 16, 16, 24, 32, 32, 33, 64 };
    struct secret *secret = lane->secret;
    unsigned char bytes[64];
    const char *type = DRAW_OF(lane, types);
    size_t len = DRAW_OF(lane, lengths);

    EVP_SKEY_free(secret->skey);
    draw_bytes(lane, bytes, sizeof(bytes));
    snprintf(lane->state, sizeof(lane->state), " key %s ", type);
    note_text(lane, "type", type);
    note(lane, "of", (long)len);
    secret->skey = EVP_SKEY_import_raw_key(lane->libctx, type, bytes, len, ours(lane));
    note_call(lane, "EVP_SKEY_import_raw_key", secret->skey != NULL);
}

static void skey_ask(struct lane *lane)
{
    static const char *const names[] = { "AES", "GENERIC-SECRET", "DES", "aes", "" };
    struct secret *secret = lane->secret;
    const unsigned char *bytes = NULL;
    size_t len = 0;

    if (secret->skey == NULL)
        return;
    note_call(lane, "EVP_SKEY_is_a", is_of_type(secret->skey, DRAW_OF(lane, names)));
    if (mgmt_name(secret->skey) != NULL)
        note_text(lane, "management", mgmt_name(secret->skey));
    if (CALL(lane, EVP_SKEY_get0_raw_key, secret->skey, &bytes, &len) == 1)
        note_bytes(lane, "raw", bytes, len);
}

struct seen {
    unsigned char bytes[64];
    size_t len, count;
};

static int see(const OSSL_PARAM params[], void *arg)
{
    struct seen *seen = arg;

    for (; params->key != NULL; params++, seen->count++)
        if (params->data_size <= sizeof(seen->bytes)) {
            memcpy(seen->bytes, params->data, params->data_size);
            seen->len = params->data_size;
        }
    return 1;
}

static void skey_export(struct lane *lane)
{
    static const int selections[] = { 0, 1, 2, 3 };
    struct secret *secret = lane->secret;
    struct seen seen = { .len = 0 };
    int selection = DRAW_OF(lane, selections);

    if (secret->skey == NULL)
        return;
    note(lane, "selection", selection);
    if (note_call(lane, "EVP_SKEY_export", export_key(secret->skey, selection, see, &seen)) != 1)
        return;
    note(lane, "parameters", (long)seen.count);
    note_bytes(lane, "bytes", seen.bytes, seen.len);
}

/* To the provider where it is, or another. */
static void skey_move(struct lane *lane)
{
    struct secret *secret = lane->secret;
    bool out = draw(lane, 2) == 0;
    SKEY *moved;

    if (secret->skey == NULL)
        return;
    note(lane, "to software", out);
    moved = to_provider(secret->skey, lane->libctx, NULL, out ? "provider=default" : ours(lane));
    note_call(lane, out ? "EVP_SKEY_to_provider of software" : "EVP_SKEY_to_provider",
              moved != NULL);
    if (moved == NULL)
        return;
    note_call(lane, "EVP_SKEY_is_a", is_of_type(moved, DRAW_OF(lane, types)));
    EVP_SKEY_free(moved);
}

static void skey_hold(struct lane *lane)
{
    struct secret *secret = lane->secret;

    if (secret->skey != NULL && note_call(lane, "EVP_SKEY_up_ref", up_ref(secret->skey)) == 1)
        EVP_SKEY_free(secret->skey);
}

static void skey_encrypt(struct lane *lane)
{
    struct secret *secret = lane->secret;
    const EVP_CIPHER *cipher = ciphers[lane->side][draw(lane, SIZES)][1];
    unsigned char iv[16] = { 0 }, out[32];
    EVP_CIPHER_CTX *ctx;
    int len = 0;

    if (secret->skey == NULL)
        return;
    ctx = EVP_CIPHER_CTX_new();
    if (CALL(lane, EVP_CipherInit_SKEY, ctx, cipher, secret->skey, iv, 16, 1, NULL) == 1 &&
        CALL(lane, EVP_CipherUpdate, ctx, out, &len, iv, 16) == 1)
        note_bytes(lane, "out", out, (size_t)len);
    EVP_CIPHER_CTX_free(ctx);
}

static const struct step skey_steps[] = {
    STEP(skey_import, 3), STEP(skey_ask, 2),  STEP(skey_export, 2),
    STEP(skey_move, 2),   STEP(skey_hold, 1), STEP(skey_encrypt, 2),
};

const struct walk skey_walk = { skey_steps, COUNT_OF(skey_steps), STEPS };
