/* The translation table for ciphers with secret keys: a mode of AES, CKM_* and its parameters. */
#ifndef BRIDGE_MECH_CRYPT_H
#define BRIDGE_MECH_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "module/cryptoki.h"

#define CRYPT_BLOCK   16 /* of AES, in bytes */
#define CRYPT_IV_MAX  64
#define CRYPT_TAG_MAX 16

enum crypt_mode {
    CRYPT_ECB,
    CRYPT_CBC,
    CRYPT_CTS,
    CRYPT_CTR,
    CRYPT_CFB,
    CRYPT_OFB,
    CRYPT_KW,
    CRYPT_KWP,
    CRYPT_CCM,
    CRYPT_GCM,
    CRYPT_MODES
};

/* How a message goes through. */
enum crypt_way {
    CRYPT_BLOCKS, /* in whole blocks */
    CRYPT_STREAM, /* in bytes */
    CRYPT_WHOLE,  /* all of it at once */
    CRYPT_AEAD,   /* the same, with what is authenticated beside it, and a tag */
};

struct crypt_row {
    CK_MECHANISM_TYPE mechanism;
    enum crypt_way way;
    unsigned number;   /* of the mode: EVP_CIPH_* */
    size_t block_size; /* as libcrypto has it */
    size_t iv_len;
    size_t least; /* bytes that a message has at least */
};

extern const struct crypt_row crypt_rows[CRYPT_MODES];

/* Whether it wraps keys. */
bool crypt_wraps(const struct crypt_row *row);

/* How many bytes come of so many, without a tag: at most, where a padding is taken off. */
size_t crypt_len(const struct crypt_row *row, bool encrypt, size_t len);

struct crypt_request {
    const struct crypt_row *row;
    bool encrypt;
    struct view iv;  /* none for key wrapping: the one of RFC 3394 or RFC 5649 */
    struct view aad; /* AEAD */
    size_t tag_len;  /* AEAD */
    size_t len;      /* of the message, without the tag */
};

/* A CK_MECHANISM with room for its parameters; it points into itself, and to what the request
 * points to, and must not be copied. */
struct crypt_mechanism {
    CK_MECHANISM ck;
    union {
        struct gcm_params gcm;
        struct ccm_params ccm;
        struct ctr_params ctr;
    } params;
};

void crypt_mechanism(const struct crypt_request *request, struct crypt_mechanism *out);

/* Makes of iv, with which so many whole blocks went through, the one for the block after them. in,
 * out: the last of them. Not for CRYPT_WHOLE and CRYPT_AEAD. */
void crypt_advance(const struct crypt_row *row, bool encrypt, uint8_t *iv, const uint8_t *in,
                   const uint8_t *out, size_t blocks);

#endif
