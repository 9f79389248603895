#include "likeness.h"

#define REFUSES   "1", "0, errors"
#define WHY       "a refusal says why"
#define NOT_ASKED "software says why there is no answer; a row of a table does not"
#define CURVE     "the name of the curve stands for its numbers"
#define NO_SUCH   "PKCS#11 has no signatures and no OAEP with it"
#define STRICT    "what it does not know, software takes for a number or passes over"
#define NO_X931   "PKCS#11 has X9.31 with its own digests, and nobody asks for it"
#define REJECTION                                                                                  \
    "of a wrong padding comes what only this key's secret tells, here with any libcrypto"
#define SIZE_FREES "software's answer to a question for the size lets the digest be set again"
#define NO_PARAMS  "this libcrypto has no parameters of these keys, and so refuses all"

#define NO_IDENTIFIER "there is none, which software tells by no bytes"
#define NO_BYTES      "0 bytes cbf29ce484222325 "
#define OFFERED       "where a digest is settled, software offers to set the same"
#define PASSED_OVER   "where a digest is settled, software passes over another; here it is refused"
#define PLAIN_ONLY    "SoftHSM has the plain instance only"
#define NO_UKM        "none stands for none, which is what it is without"
#define NO_ROOM       "of a salt that has no room there is no identifier"
#define NOT_FOR       "the manual has -2 for what keys of the type are not for"
#define PSS_ALONE                                                                                  \
    "PKCS#11 or SoftHSM has no PSS with it, and the key does not allow what it is made of"
#define ONE_LIST   "one list for all modes"
#define NO_IV      "software takes zeros where no IV was set"
#define NONE_OF_IT "it has none of it"
#define KEY_SAYS   "the key says which cipher it is"
#define NOT_READ   "what changes nothing here is not looked at"
#define NO_NUM     "where in a block it is, is not told"
#define WAS_SET    "who set it knows it"
#define SEED       "the seed is the secret"
#define NO_KEM     "PKCS#11 has none with these keys: RSASVE, DHKEM"
#define NO_SHA3    "software has no identifier of PSS with it"

#define V3_2 0x30200000UL
#define V3_4 0x30400000UL
#define V3_6 0x30600000UL

const struct difference likeness_differences[] = {
    { NULL, NULL, "0", "0, errors", NULL, 0, false, WHY },
    { NULL, NULL, "-1", "-1, errors", NULL, 0, false, WHY },
    { NULL, NULL, "-2", "-2, errors", NULL, 0, false, WHY },
    { NULL, NULL, "1, errors", "1", NULL, 0, false, "software leaves entries of what it tried" },
    { NULL, "get *", "0, errors", "0", NULL, 0, false, NOT_ASKED },
    { NULL, "EVP_PKEY_get_*", "0, errors", "0", NULL, 0, false, NOT_ASKED },
    { "P-*", "data *", "yes", "no", NULL, 0, false, CURVE },
    { "P-*", "key has include-public", "yes", "no", NULL, 0, false, "it has no private bytes" },
    { "P-*", "key takes *", "yes", "no", NULL, 0, false, "a key of a token does not change" },
    { "ED*", "key takes encoded-pub-key", "no", "yes", NULL, 0, false,
      "one list for all keys that are a point" },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "SHAKE128]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "SHAKE128]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "MD5-SHA1]", 0, true, NO_SUCH },
    { NULL, "X509_REQ_sign", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_digestsign_supports_digest", "1", "0", NULL, 0, false, NO_SUCH },
    { "RSA*", "EVP_*", REFUSES, "MD5-SHA1]", 0, true, NO_SUCH },
    { "RSA*", "EVP_*init_ex", REFUSES, "with: pad-mode", 0, true, STRICT },
    { "RSA*", "EVP_*Init_ex", REFUSES, "with: pad-mode", 0, true, STRICT },
    { "RSA*", "set pad-mode *", REFUSES, NULL, 0, true, STRICT },
    { "RSA*", "ctrl_str rsa_padding_mode:*", REFUSES, NULL, 0, true, STRICT },
    { "RSA*", "ctrl_str rsa_pss_saltlen:nothing", REFUSES, NULL, 0, true, STRICT },
    { "RSA*", "set saltlen \"*", REFUSES, NULL, 0, true, STRICT },
    { "RSA*", "EVP_PKEY_CTX_dup", "0", "1", NULL, 0, true,
      "software has no copy of an empty label" },
    { "RSA*", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 5]", 0, true, NO_X931 },
    { "RSA*", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 6]", 0, true, STRICT },
    { "RSA*", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 0]", 0, true, STRICT },
    { "RSA*", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: -1]", 0, true, STRICT },
    { "RSA*", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 99]", 0, true, STRICT },
    { "RSA*", "EVP_PKEY_decrypt of what is spoilt", "0, errors", "1", NULL, V3_2, true, REJECTION },
    { "RSA*", "out of what is spoilt", NULL, NULL, NULL, 0, true, REJECTION },
    { "RSA-PSS", "EVP_PKEY_*crypt_init_ex", "0, errors", "-2, errors", NULL, 0, true, NOT_FOR },
    { "RSA-PSS", "EVP_*", REFUSES, "SHA512-256]", 0, true, PSS_ALONE },
    { "RSA-PSS", "X509_REQ_sign*", REFUSES, "SHA512-256]", 0, true, PSS_ALONE },
    { "RSA-PSS", "EVP_*", REFUSES, "SHA3-256]", 0, true, PSS_ALONE },
    { "RSA-PSS", "algorithm", NO_BYTES, NULL, "SHA3-256]", 0, true, PSS_ALONE },
    { "RSA-PSS", "EVP_*", REFUSES, "rsa_mgf1_md", 0, true, PSS_ALONE },
    { "RSA-PSS", "EVP_*", REFUSES, "set mgf1-digest", 0, true, PSS_ALONE },
    { "RSA-PSS", NULL, NULL, NULL, "with: an empty list]", V3_4, true,
      "where nothing is set, software sets SHA-1" },
    { "P-*", "get algorithm-id", "0", "0, errors", NULL, 0, false, NO_IDENTIFIER },
    { "P-*", "get algorithm-id", NO_BYTES, "0, errors", NULL, 0, false, NO_IDENTIFIER },
    { "RSA*", "X509_REQ_sign_ctx", "0, errors", "1", "SHA3-256]", 0, true, NO_SHA3 },
    { "RSA*", "get algorithm-id", "0, errors", NULL, "SHA3-256]", 0, false, NO_SHA3 },
    { "RSA*", "get saltlen", "0", "2", NULL, 0, false, "software does not know a number's length" },
    { "RSA*", "get saltlen", "0", "3", NULL, 0, false, "software does not know a number's length" },
    { "RSA*", "get pad-mode", "no answer", NULL, NULL, 0, false, "software has no name of TLS'" },
    { "RSA*", "get algorithm-id", NULL, "0, errors", "saltlen 500", 0, false, NO_ROOM },
    { "RSA*", "get algorithm-id", NULL, "0, errors", "salt: 400", 0, false, NO_ROOM },
    { "RSA*", "algorithm", NULL, NO_BYTES, "saltlen 500", 0, false, NO_ROOM },
    { "RSA*", "algorithm", NULL, NO_BYTES, "salt: 400", 0, false, NO_ROOM },
    { "ED*", "gettable *", "yes", "no", NULL, V3_6, false, "listed, and never answered" },
    { "P-*", "* nonce-type", "yes", "no", NULL, 0, false, "tokens choose their nonces" },
    { "P-*", "EVP_DigestVerify*", "0, errors", "-1, errors", NULL, 0, false,
      "no bytes are no signature, as for EVP_PKEY_verify" },
    { "P-*", "settable *", "yes", "no", "Init_ex", 0, false, OFFERED },
    { "P-*", "ctrl_str digest:*", "0, errors", "-2, errors", "Init_ex", 0, false, OFFERED },
    { "P-*", "ctrl_str digest:*", "1", "-2, errors", "Init_ex", 0, true, OFFERED },
    { "RSA*", "set digest *", REFUSES, "Init_ex", 0, true, PASSED_OVER },
    { "RSA*", "EVP_PKEY_CTX_set_signature_md", REFUSES, "Init_ex", 0, true, PASSED_OVER },
    { "RSA*", "EVP_Digest*Init_ex", REFUSES, "again with", 0, true, PASSED_OVER },
    { NULL, "key has security-category", "no", "yes", NULL, V3_6, false, "libcrypto's is newer" },
    { NULL, "get security-category", "no answer", NULL, NULL, V3_6, false, "libcrypto's is newer" },
    { "ED*", "CMS_add1_signer", REFUSES, NULL, 0, true,
      "software begins what it cannot sign: the same, without attributes" },
    { "ED*", "EVP_PKEY_*_init_ex", "1", "-2, errors", NULL, 0, true,
      "software takes what Ed25519ph has hashed before; PKCS#11 hashes by itself" },
    { "RSA*", "EVP_PKEY_decrypt of what is spoilt", REFUSES, NULL, 0, true,
      "a ciphertext is as long as the modulus" },
    { NULL, "ctrl_str digest:*", "1", "-2, errors", "[size: ", 0, true, SIZE_FREES },
    { NULL, "settable digest*", "yes", "no", "[size: ", 0, false, SIZE_FREES },
    { NULL, "settable properties", "yes", "no", "[size: ", 0, false, SIZE_FREES },
    { NULL, "EVP_PKEY_CTX_set_signature_md", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "set digest *", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "ctrl_str digest:*", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "settable digest-size", "yes", "no", NULL, 0, false,
      "a digest's size is known by its name" },
    { NULL, "EVP_PKEY_sign of nothing", REFUSES, NULL, 0, true, "tokens do not sign nothing" },
    { "P-*", "EVP_PKEY_CTX_set0_ecdh_kdf_ukm", "0", "1", NULL, 0, true, NO_UKM },
    { "P-*", "EVP_PKEY_CTX_set0_ecdh_kdf_ukm", "0, errors", "1", NULL, 0, true, NO_UKM },
    { "RSA*", "* implicit-rejection", "no", "yes", NULL, V3_2, false, "here it is always" },
    { "RSA*", "get implicit-rejection", "no answer", NULL, NULL, V3_2, false, "here it is always" },
    { "ED*", "EVP_DigestSign", REFUSES, "[set instance", 0, true, PLAIN_ONLY },
    { "ED*", "EVP_DigestSign", REFUSES, "[set context-string", 0, true, PLAIN_ONLY },
    { "ED*", "X509_REQ_sign_ctx", REFUSES, "[set instance", 0, true, PLAIN_ONLY },
    { "ED*", "X509_REQ_sign_ctx", REFUSES, "[set context-string", 0, true, PLAIN_ONLY },
    { "ED*", "set instance \"Ed448\"", REFUSES, NULL, 0, true, STRICT },
    { "AES-*", "gettable *", NULL, NULL, NULL, 0, false, ONE_LIST },
    { "AES-*", "settable *", NULL, NULL, NULL, 0, false, ONE_LIST },
    { "AES-*", "get padding", "no answer", NULL, NULL, 0, false, ONE_LIST },
    { "AES-*", "get taglen", "no answer", NULL, NULL, 0, false, ONE_LIST },
    { "AES-*", "get num", NULL, "no answer", NULL, 0, false, NO_NUM },
    { "AES-*", "get tls-multi", NULL, "no answer", NULL, 0, false, NONE_OF_IT },
    { "AES-*", "get has-randkey", NULL, "no answer", NULL, 0, false, NONE_OF_IT },
    { "AES-*", "get encrypt-then-mac", NULL, "no answer", NULL, 0, false, NONE_OF_IT },
    { "AES-*", "get tag", "no answer", "0, errors", NULL, 0, false, STRICT },
    { "AES-*", "set tag", REFUSES, NULL, 0, false, STRICT },
    { "AES-*", "set ivlen", REFUSES, NULL, 0, false, STRICT },
    { "AES-*", "ctrl *", REFUSES, NULL, 0, true, STRICT },
    { "AES-*", "set cts_mode", REFUSES, NULL, 0, true, "of ciphertext stealing, PKCS#11 has CS1" },
    { "AES-*", "EVP_Cipher*", REFUSES, "[no iv: ", 0, true, NO_IV },
    { "AES-*", "get *iv", NULL, "0, errors", "[no iv: ", 0, false, NO_IV },
    { "AES-*", "EVP_CipherUpdate", REFUSES, "mode: GCM]", 0, true,
      "a message goes through whole, and nothing is given out before its tag is checked" },
    { "AES-*", "EVP_MAC_*", REFUSES, "[cipher: CAMELLIA", 0, true, NO_SUCH },
    { "AES-*", "EVP_MAC_CTX_dup", "0", "1", NULL, 0, true, "software has no copy of nothing" },
    { "AES-*", "EVP_MAC_init*", "0, errors", "1", "[with: 0]", 0, true, KEY_SAYS },
    { "AES-*", "EVP_MAC_init*", "0", "1", NULL, 0, true, KEY_SAYS },
    { "AES-*", "*size", "0", NULL, NULL, 0, false, KEY_SAYS },
    { "AES-*", "get *size", NULL, NULL, NULL, 0, false, KEY_SAYS },
    { "AES-*", "len", "0", NULL, NULL, 0, false, KEY_SAYS },
    { "AES-*", "set num", NULL, NULL, NULL, 0, true, NO_NUM },
    { "GENERIC-SECRET", "len", "0", NULL, NULL, 0, false, "it is known by the digest alone" },
    { "GENERIC-SECRET", "EVP_MAC_*", REFUSES, "SHAKE128]", 0, true, NO_SUCH },
    { "AES-*", "get *iv", "0, errors", NULL, "mode: GCM]", 0, false,
      "of GCM software wants to know how large the place of a pointer is" },
    { "AES-*", "EVP_CIPHER_CTX_get_num", NULL, "0", NULL, 0, false, NO_NUM },
    { "AES-*", "set padding", REFUSES, "mode: GCM]", 0, false, ONE_LIST },
    { "AES-*", "EVP_MAC_*", REFUSES, "[mac: 16 bytes", 0, true,
      "of what comes after the end, software makes another MAC" },
    { "AES-*", "EVP_MAC_init", REFUSES, "[cipher: ", 0, true,
      "software looks at the cipher's name when the next key comes" },
    { "GENERIC-SECRET", "EVP_MAC_*", NULL, NULL, "[tls-data-size: ", 0, true, NOT_READ },
    { "GENERIC-SECRET", "EVP_MAC_*", NULL, NULL, "[properties: 10]", 0, true, NOT_READ },
    { "GENERIC-SECRET", "EVP_MAC_*", NULL, NULL, "[digest-noinit: ", 0, true, NOT_READ },
    { "GENERIC-SECRET", "EVP_MAC_update", "1", "0, errors", "[EVP_MAC_final: 1]", 0, false,
      "after the end software takes nothing, if it is nothing" },
    { "AES-*", "EVP_CIPHER_CTX_get_*_iv", NULL, "0, errors", "[no iv: ", 0, true, NO_IV },
    { "AES-*", "original", NULL, NULL, "[no iv: ", 0, true, NO_IV },
    { "AES-*", "get tag", "0, errors", NULL, "mode: GCM]", 0, false,
      "the message went through whole, and has a tag before the end" },
    { "GENERIC-SECRET", "EVP_KDF_CTX_set_SKEY", REFUSES, "[as: salt]", 0, true,
      "a salt comes as bytes" },
    { "GENERIC-SECRET", "gettable *", "yes", "no", NULL, 0, false, WAS_SET },
    { "GENERIC-SECRET", "get digest", NULL, "no answer", NULL, 0, false, WAS_SET },
    { "GENERIC-SECRET", "get mode", NULL, "no answer", NULL, 0, false, WAS_SET },
    { "GENERIC-SECRET", "get info", NULL, "no answer", NULL, 0, false, WAS_SET },
    { "GENERIC-SECRET", "get salt", NULL, "no answer", NULL, 0, false, WAS_SET },
    { "ED448", "set instance \"Ed25519*", REFUSES, NULL, 0, true, STRICT },
    { "RSA-PSS", "EVP_PKEY_CTX_get_rsa_pss_saltlen", NULL, NULL, "SHA3-256]", 0, true, PSS_ALONE },
    { "RSA-PSS", "EVP_PKEY_*capsulate_init", "0, errors", "-2, errors", NULL, 0, true, NOT_FOR },
    { "ML-DSA-*", "set message-encoding 2", REFUSES, NULL, 0, true, STRICT },
    { "ML-DSA-*", "settable signature", "no", "yes", NULL, 0, false,
      "one list, for verifications that are fed as well" },
    { "ML-*", "get seed", NULL, "no answer", NULL, 0, false, SEED },
    { "ML-*", "key has seed", "yes", "no", NULL, 0, false, SEED },
    { "ML-DSA-*", "key takes encoded-pub-key", "no", "yes", NULL, 0, false,
      "one list for all keys that are a point" },
    { "ML-DSA-*", "settable test-entropy", "yes", "no", NULL, 0, false, "it is the token's" },
    { "ML-KEM-*", "EVP_PKEY_CTX_dup", "0", "1", NULL, 0, true, "software has no copies of it" },
    { NULL, "EVP_PKEY_encapsulate_init", "1", "-2, errors", NULL, 0, true, NO_KEM },
    { NULL, "EVP_PKEY_decapsulate_init", "1", "-2, errors", NULL, 0, true, NO_KEM },
    { "AES-*", "flags", NULL, NULL, NULL, 0, false, "EVP_Cipher(3) is by update and final" },
    { "AES-*", "set tag", "0, errors", "1", "[length: ", 0, true, "its length, as with CCM" },
    { "GENERIC-SECRET", "size", "0", NULL, NULL, 0, false, "it is known by the digest alone" },
    { "GENERIC-SECRET", "* size", "0", NULL, NULL, 0, false, "it is known by the digest alone" },
    { "GENERIC-SECRET", "get *size", NULL, NULL, NULL, 0, false,
      "it is known by the digest alone" },
    { "X*", "get *", "0", "no answer", NULL, V3_4, false, NO_PARAMS },
    { NULL, NULL, NULL, NULL, NULL, 0, false, NULL },
};
