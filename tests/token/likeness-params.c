#include "likeness.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

const char *const digests[DIGESTS] = { "SHA256", "SHA256",   "SHA1",     "SHA384",    "SHA512",
                                       "SHA224", "SHA3-256", "SHA2-256", "MD5",       "MD5-SHA1",
                                       "",       "SHA9",     "SHAKE128", "SHA512-256" };

void note_list(struct lane *lane, const char *what, const OSSL_PARAM *list,
               const char *const *names, size_t count)
{
    char text[96];

    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%s %s", what, names[i]);
        if (list == NULL || OSSL_PARAM_locate_const(list, names[i]) == NULL)
            note_text(lane, text, "no");
        else
            note_text(lane, text, "yes");
    }
}

/* What a context tells, in the types in which programs ask. */
static const struct asked asked[] = {
    { "digest", OSSL_PARAM_UTF8_STRING },
    { "digest-size", OSSL_PARAM_UNSIGNED_INTEGER },
    { "algorithm-id", OSSL_PARAM_OCTET_STRING },
    { "pad-mode", OSSL_PARAM_UTF8_STRING },
    { "pad-mode", OSSL_PARAM_INTEGER },
    { "saltlen", OSSL_PARAM_UTF8_STRING },
    { "saltlen", OSSL_PARAM_INTEGER },
    { "mgf1-digest", OSSL_PARAM_UTF8_STRING },
    { "oaep-digest", OSSL_PARAM_UTF8_STRING }, /* OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST is "digest" */
    { "oaep-label", OSSL_PARAM_OCTET_PTR },
    { "tls-client-version", OSSL_PARAM_UNSIGNED_INTEGER },
    { "tls-negotiated-version", OSSL_PARAM_UNSIGNED_INTEGER },
    { "implicit-rejection", OSSL_PARAM_UNSIGNED_INTEGER },
    { "ecdh-cofactor-mode", OSSL_PARAM_INTEGER },
    { "kdf-type", OSSL_PARAM_UTF8_STRING },
    { "kdf-digest", OSSL_PARAM_UTF8_STRING },
    { "kdf-outlen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "kdf-ukm", OSSL_PARAM_OCTET_PTR },
    { "instance", OSSL_PARAM_UTF8_STRING },
    { "context-string", OSSL_PARAM_OCTET_STRING },
    { "unheard-of", OSSL_PARAM_INTEGER },
};

static const char *const listed[] = { "digest",
                                      "digest-size",
                                      "properties",
                                      "algorithm-id",
                                      "pad-mode",
                                      "saltlen",
                                      "mgf1-digest",
                                      "mgf1-properties",
                                      "oaep-label",
                                      "digest-props",
                                      "implicit-rejection",
                                      "tls-client-version",
                                      "tls-negotiated-version",
                                      "ecdh-cofactor-mode",
                                      "kdf-type",
                                      "kdf-digest",
                                      "kdf-digest-props",
                                      "kdf-outlen",
                                      "kdf-ukm",
                                      "instance",
                                      "context-string",
                                      "nonce-type",
                                      "deterministic",
                                      "message-encoding",
                                      "mu",
                                      "test-entropy",
                                      "signature" };

/* A digest by the first of its names: software answers with the one that it was told. */
static void note_digest(struct lane *lane, const char *what, const char *name)
{
    EVP_MD *md = EVP_MD_fetch(libctxs[SOFTWARE], name, NULL);

    note_text(lane, what, md != NULL ? EVP_MD_get0_name(md) : name);
    EVP_MD_free(md);
    ERR_clear_error();
}

void note_answer(struct lane *lane, const struct asked *one,
                 int (*get)(void *from, OSSL_PARAM *params), void *from)
{
    unsigned char buf[3000] = { 0 };
    const size_t sizes[] = { sizeof(buf) - 1, sizeof(buf) - 1, sizeof(buf) - 1, 3, 0 };
    bool digest = one->type == OSSL_PARAM_UTF8_STRING && strstr(one->name, "digest") != NULL;
    size_t size = digest ? sizes[0] : DRAW_OF(lane, sizes);
    void *pointer = NULL;
    OSSL_PARAM params[] = { { one->name, one->type, buf, size, OSSL_PARAM_UNMODIFIED },
                            OSSL_PARAM_construct_end() };
    char what[64];
    int ret;

    if (one->type == OSSL_PARAM_OCTET_PTR)
        params[0].data = &pointer, params[0].data_size = 0;
    else if (one->type != OSSL_PARAM_UTF8_STRING && one->type != OSSL_PARAM_OCTET_STRING)
        params[0].data_size = size < 8 ? 4 : 8;
    else if (!digest && draw(lane, 6) == 0)
        params[0].data = NULL;
    snprintf(what, sizeof(what), "get %s", one->name);
    ret = get(from, params);
    if (ret != 1) {
        note_call(lane, what, ret);
        return;
    }
    ERR_clear_error();
    if (!OSSL_PARAM_modified(params)) {
        note_text(lane, what, "no answer");
        return;
    }
    if (one->type == OSSL_PARAM_OCTET_PTR)
        note_bytes(lane, what, pointer, pointer != NULL ? params[0].return_size : 0);
    else if (params[0].data == NULL)
        note(lane, what, (long)params[0].return_size);
    else if (digest)
        note_digest(lane, what, (const char *)buf);
    else if (one->type == OSSL_PARAM_UTF8_STRING)
        note_text(lane, what, (const char *)buf);
    else
        note_bytes(lane, what, buf, params[0].return_size);
}

static int get_of_ctx(void *ctx, OSSL_PARAM *params)
{
    return EVP_PKEY_CTX_get_params(ctx, params);
}

void note_ctx(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    if (draw(lane, 8) == 0)
        note_list(lane, "settable", EVP_PKEY_CTX_settable_params(ctx), listed, COUNT_OF(listed));
    else if (draw(lane, 8) == 0)
        note_list(lane, "gettable", EVP_PKEY_CTX_gettable_params(ctx), listed, COUNT_OF(listed));
    else
        for (int i = 0; i < 3; i++)
            note_answer(lane, &DRAW_OF(lane, asked), get_of_ctx, ctx);
}

/* What software has refused, it may have kept all the same: no padding beside a digest, X9.31,
 * another digest, or nothing in the place of what was set. And a digest that is set after a
 * question for the size, the same or not, makes it forget the message. */
static void note_refused(struct lane *lane, const char *name, int ret)
{
    static const char *const kept[] = {
        "digest",      "pad-mode",    "saltlen",     "kdf-digest",
        "ecdh_kdf_md", "mgf1-digest", "rsa_oaep_md", "rsa_mgf1_md"
    };

    for (size_t i = 0; i < COUNT_OF(kept); i++)
        if (strcmp(name, kept[i]) == 0 && (ret <= 0 || (i == 0 && lane->size_asked)))
            lane->over = true;
}

/* Values as programs set them, and as they should not. */
static void set_text(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const texts[][2] = {
        { "pad-mode", "pkcs1" },
        { "pad-mode", "pss" },
        { "pad-mode", "oaep" },
        { "pad-mode", "none" },
        { "pad-mode", "x931" },
        { "pad-mode", "pss" },
        { "pad-mode", "" },
        { "pad-mode", "nonsense" },
        { "saltlen", "digest" },
        { "saltlen", "max" },
        { "saltlen", "auto" },
        { "saltlen", "20" },
        { "saltlen", "-7" },
        { "saltlen", "x" },
        { "saltlen", "" },
        { "mgf1-digest", "SHA1" },
        { "mgf1-digest", "SHA9" },
        { "mgf1-properties", "" },
        { "digest", "SHA256" },
        { "digest", "SHA384" },
        { "digest", "SHA9" },
        { "digest", "" },
        { "properties", "" },
        { "digest-props", "" },
        { "kdf-type", "X963KDF" },
        { "kdf-type", "" },
        { "kdf-type", "HKDF" },
        { "kdf-digest", "SHA1" },
        { "kdf-digest", "SHA9" },
        { "unheard-of", "x" },
        { "instance", "Ed25519" },
        { "instance", "Ed25519ph" },
        { "instance", "Ed25519ctx" },
        { "instance", "Ed448" },
        { "saltlen", "auto-digestmax" },
    };
    const char *const *one = DRAW_OF(lane, texts);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string((char *)(uintptr_t)one[0],
                                                                   (char *)(uintptr_t)one[1], 0),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s \"%s\"", one[0], one[1]);
    note_refused(lane, one[0], note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)));
}

unsigned char octets[7] = "octets";

/* What a signature of ML-DSA is made with: software does not tell. */
static void remember(struct lane *lane, const char *name, int value)
{
    if (strcmp(name, "deterministic") == 0)
        lane->deterministic = value == 1;
    else if (strcmp(name, "message-encoding") == 0 || strcmp(name, "mu") == 0)
        lane->encoded = true;
    else if (strcmp(name, "context-string") == 0)
        lane->context_len = (size_t)value;
    note_refused(lane, name, 1);
}

static void set_number(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const struct {
        const char *name;
        int value;
    } numbers[] = {
        { "pad-mode", 1 },
        { "pad-mode", 3 },
        { "pad-mode", 4 },
        { "pad-mode", 6 },
        { "pad-mode", 7 },
        { "pad-mode", 99 },
        { "pad-mode", -1 },
        { "saltlen", 0 },
        { "saltlen", -1 },
        { "saltlen", -2 },
        { "saltlen", -3 },
        { "saltlen", -4 },
        { "saltlen", -5 },
        { "saltlen", 500 },
        { "digest", 3 },
        { "mgf1-digest", 3 },
        { "kdf-type", 1 },
        { "ecdh-cofactor-mode", 0 },
        { "oaep-label", 3 },
        { "ecdh-cofactor-mode", 1 },
        { "ecdh-cofactor-mode", -1 },
        { "ecdh-cofactor-mode", 2 },
        { "ecdh-cofactor-mode", -2 },
        { "unheard-of", 3 },
        { "deterministic", 1 },
        { "deterministic", 1 },
        { "deterministic", 0 },
        { "message-encoding", 0 },
        { "message-encoding", 1 },
        { "message-encoding", 2 },
        { "mu", 0 },
        { "mu", 1 },
    };
    unsigned which = draw(lane, COUNT_OF(numbers));
    int value = numbers[which].value;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int(numbers[which].name, &value),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s %d", numbers[which].name, value);
    if (note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)) == 1)
        remember(lane, numbers[which].name, value);
    else
        note_refused(lane, numbers[which].name, 0);
}

static void set_octets(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const names[] = {
        "context-string", "oaep-label", "kdf-ukm",     "digest",
        "pad-mode",       "saltlen",    "mgf1-digest", "kdf-outlen"
    };
    const char *name = DRAW_OF(lane, names);
    size_t len = draw(lane, sizeof(octets));
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(name, octets, len),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s by octets", name);
    if (note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)) == 1)
        remember(lane, name, (int)len);
    else
        note_refused(lane, name, 0);
}

/* By the functions of OpenSSL 1.1's macros. */

static void set_padding(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const int paddings[] = { 1, 3, 4, 4, 5, 6, 6, 6, 7, 0, -1, 99 }; /* RSA_*_PADDING */
    int padding = DRAW_OF(lane, paddings);

    note(lane, "padding", padding);
    note_refused(lane, "pad-mode", CALL(lane, EVP_PKEY_CTX_set_rsa_padding, ctx, padding));
}

static void set_salt(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const int salts[] = { 0, 7, 20, 32, 32, 400, -1, -1, -2, -3, -4, -5 };
    int salt = DRAW_OF(lane, salts);

    note(lane, "salt", salt);
    note_refused(lane, "saltlen", CALL(lane, EVP_PKEY_CTX_set_rsa_pss_saltlen, ctx, salt));
}

static const char *digest_draw(struct lane *lane)
{
    const char *digest = DRAW_OF(lane, digests);

    note_text(lane, "digest", digest);
    return digest;
}

static const EVP_MD *md_draw(struct lane *lane)
{
    return EVP_get_digestbyname(digest_draw(lane));
}

static void set_digest(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    note_refused(lane, "digest", CALL(lane, EVP_PKEY_CTX_set_signature_md, ctx, md_draw(lane)));
}

static void set_mgf1(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    int ret = draw(lane, 2) == 0
                  ? CALL(lane, EVP_PKEY_CTX_set_rsa_mgf1_md_name, ctx, digest_draw(lane), NULL)
                  : CALL(lane, EVP_PKEY_CTX_set_rsa_mgf1_md, ctx, md_draw(lane));

    note_refused(lane, "mgf1-digest", ret);
}

static void set_oaep(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    int ret = draw(lane, 2) == 0
                  ? CALL(lane, EVP_PKEY_CTX_set_rsa_oaep_md_name, ctx, digest_draw(lane), NULL)
                  : CALL(lane, EVP_PKEY_CTX_set_rsa_oaep_md, ctx, md_draw(lane));

    note_refused(lane, "rsa_oaep_md", ret);
}

/* Bytes for a context to own, and sometimes none. */
static void *gift_draw(struct lane *lane, int *len)
{
    *len = (int)draw(lane, 6);
    return *len != 0 ? OPENSSL_memdup("bytes", (size_t)*len) : NULL;
}

static void set_label(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    int len;
    void *label = gift_draw(lane, &len);

    if (CALL(lane, EVP_PKEY_CTX_set0_rsa_oaep_label, ctx, label, len) <= 0)
        OPENSSL_free(label);
}

static void set_ukm(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    int len;
    void *ukm = gift_draw(lane, &len);

    if (CALL(lane, EVP_PKEY_CTX_set0_ecdh_kdf_ukm, ctx, ukm, len) <= 0)
        OPENSSL_free(ukm);
}

static void set_kdf(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const int lengths[] = { 0, 1, 16, 32, 40, 100, -1 };

    switch (draw(lane, 3)) {
    case 0:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_type, ctx, (int)draw(lane, 4));
        break;
    case 1:
        note_refused(lane, "kdf-digest",
                     CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_md, ctx, md_draw(lane)));
        break;
    default:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_outlen, ctx, DRAW_OF(lane, lengths));
    }
}

static void set_cofactor(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    CALL(lane, EVP_PKEY_CTX_set_ecdh_cofactor_mode, ctx, (int)draw(lane, 4) - 1);
}

/* Of other keys than RSA's, libcrypto 3.0 writes the answer to where nothing is; of a padding that
 * it has no name for, which is one of encryption, any looks at a name that is not there. */
static void get_by_function(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    bool crypts = (EVP_PKEY_CTX_get_operation(ctx) & EVP_PKEY_OP_TYPE_CRYPT) != 0;
    int value = 0;

    CALL(lane, EVP_PKEY_CTX_get_ecdh_kdf_type, ctx);
    CALL(lane, EVP_PKEY_CTX_get_ecdh_cofactor_mode, ctx);
    if (is_rsa(lane) && !crypts && CALL(lane, EVP_PKEY_CTX_get_rsa_padding, ctx, &value) > 0)
        note(lane, "padding", value);
    if (is_rsa(lane) && CALL(lane, EVP_PKEY_CTX_get_rsa_pss_saltlen, ctx, &value) > 0)
        note(lane, "saltlen", value);
}

static void set_by_text(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const texts[][2] = {
        { "rsa_padding_mode", "pss" },    { "rsa_padding_mode", "pkcs1" },
        { "rsa_padding_mode", "oaep" },   { "rsa_padding_mode", "nonsense" },
        { "rsa_pss_saltlen", "digest" },  { "rsa_pss_saltlen", "-2" },
        { "rsa_pss_saltlen", "auto" },    { "rsa_mgf1_md", "sha384" },
        { "rsa_oaep_md", "sha256" },      { "rsa_oaep_label", "6c6162" },
        { "digest", "sha512" },           { "ecdh_kdf_md", "sha256" },
        { "ecdh_cofactor_mode", "1" },    { "unheard-of", "1" },
        { "rsa_pss_saltlen", "nothing" }, { "rsa_keygen_bits", "2048" },
    };
    const char *const *one = DRAW_OF(lane, texts);
    char what[64];

    snprintf(what, sizeof(what), "ctrl_str %s:%s", one[0], one[1]);
    note_refused(lane, one[0], note_call(lane, what, EVP_PKEY_CTX_ctrl_str(ctx, one[0], one[1])));
}

void set_something(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    void (*const ways[])(struct lane * lane, EVP_PKEY_CTX * ctx) = {
        set_padding, set_padding, set_salt,   set_digest, set_mgf1,     set_oaep,
        set_label,   set_ukm,     set_kdf,    set_kdf,    set_cofactor, get_by_function,
        set_text,    set_text,    set_number, set_number, set_octets,   set_by_text,
    };

    DRAW_OF(lane, ways)(lane, ctx);
}

const OSSL_PARAM *params_draw(struct lane *lane, OSSL_PARAM *params)
{
    static int salt = 20;
    static char pss[] = "pss", oaep[] = "oaep", digest[] = "SHA256";
    char *padding = draw(lane, 2) == 0 ? pss : oaep;
    const OSSL_PARAM all[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, padding, 0),
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int("unheard-of", &salt),
    };
    size_t count = 0;

    if (draw(lane, 2) == 0)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (draw(lane, 3) == 0) {
            params[count++] = all[i];
            note_text(lane, "with", all[i].key);
        }
    if (count == 0)
        note_text(lane, "with", "an empty list");
    params[count] = OSSL_PARAM_construct_end();
    return params;
}
