/* What sequences with secret keys have, and the ciphers among them
 * (likeness-cipher.c). */
#ifndef BRIDGE_LIKENESS_SECRET_H
#define BRIDGE_LIKENESS_SECRET_H

#include "likeness.h"
#include "skey.h"

#define DATA_MAX 4096
#define ROOM_MAX 700

/* What was encrypted last, to be decrypted. */
struct sealed {
    unsigned mode;
    unsigned char iv[16], aad[DATA_MAX], text[DATA_MAX], tag[16];
    size_t aad_len, text_len, taken;
    bool is_whole; /* the final came, and of GCM the tag */
};

struct secret {
    EVP_CIPHER_CTX *cipher;
    bool begun;
    unsigned mode;
    bool has_iv;          /* of its length */
    bool tagged, through; /* a tag is set, and bytes of the message came */
    struct sealed made;
    EVP_MAC_CTX *mac;
    bool mac_named, mac_begun, mac_ended;
    EVP_KDF_CTX *kdf;
    SKEY *skey;
};

#define MODES 11
#define GCM   10
#define SIZES 2 /* of keys: 128 and 256 bits */

extern const char *const modes[MODES];
extern EVP_CIPHER *ciphers[SIDES][SIZES][MODES];
extern bool lacks[MODES]; /* that the token has not */

/* Whether this libcrypto has them; before a walk. */
bool ciphers_found(void);
extern const struct walk cipher_walk;

/* The same of keys by themselves (likeness-skey.c). */
bool skeys_found(void);
extern const struct walk skey_walk;

#endif
