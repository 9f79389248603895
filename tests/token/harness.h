/* What the programs of this directory share: library contexts with the provider in them, keys by
 * URI. */
#ifndef BRIDGE_HARNESS_H
#define BRIDGE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/types.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A library context of its own with the default provider and this one, configured with the lines of
 * settings ("key = value\n..."), which come after a module path and a PIN file that work. */
OSSL_LIB_CTX *libctx_new(const char *settings);

/* The same with this provider listed before the default one. */
OSSL_LIB_CTX *libctx_new_first(const char *settings);

/* The same with the module of tests/fault in between. */
OSSL_LIB_CTX *libctx_new_faulty(const char *settings);

/* The lines of the file that have text in them. */
unsigned lines_with(const char *name, const char *text);

/* A library context with the default provider only. */
OSSL_LIB_CTX *libctx_new_plain(void);

/* The key with this label on the token of this run; NULL when there is none. kind: "private",
 * "public". */
EVP_PKEY *key_load(OSSL_LIB_CTX *libctx, const char *label, const char *kind);

/* Whether the token of this run is known not to have a key with this label, or another thing that a
 * test asks for by a name of its own (BRIDGE_LACKS). */
bool key_lacking(const char *label);

/* The first key of a whole URI. */
EVP_PKEY *key_load_uri(OSSL_LIB_CTX *libctx, const char *uri);

/* The same public key, made by another library context from this one's SubjectPublicKeyInfo. */
EVP_PKEY *key_public_copy(EVP_PKEY *key, OSSL_LIB_CTX *libctx);

/* Whether key signs a message with SHA-256. */
bool key_signs(OSSL_LIB_CTX *libctx, EVP_PKEY *key);

/* Whether key decrypts a ciphertext of 256 bytes (RSA-2048, OAEP with SHA-1) to this text. */
bool key_decrypts(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const unsigned char *encrypted,
                  const char *text);

/* The secret of 32 bytes that key and peer share; false when there is none. */
bool key_derives(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, unsigned char *out);

/* Whether this is scripts/stress, where every step may take long. */
bool under_stress(void);

/* For cases that rest on how long something takes. */
#define RESTS_ON_TIME                                                                              \
    do {                                                                                           \
        if (under_stress())                                                                        \
            skip();                                                                                \
    } while (0)

/* For limits that only what hangs exceeds: longer under stress, and where qemu-user runs the test.
 */
unsigned at_leisure(unsigned time);

/* Functions that are newer than the oldest libcrypto: where a pointer to each goes. */
struct newer {
    const char *name;
    void *function; /* of the pointer */
};

/* Sets them; false where this libcrypto lacks one. */
bool newer_found(const struct newer *functions, size_t count);

/* SIGALRM after so many seconds, at leisure: nothing hangs. */
void limit(unsigned seconds);

/* The limit of a forked child: SIGALRM ends it after 30 s. AddressSanitizer of GCC 12 doesn't take
 * the locks of its own allocator before a fork, so that a child may wait forever for one that a
 * thread of its parent held; a child that is found there after 10 s, and no other, proves
 * nothing, and the test forks again. */
void child_limit(void);
bool child_proves_nothing(int status);

/* Runs each test, or the one of this name where it is not NULL, in a process of its own, of which
 * 90 s are the limit. Whether all ended well. */
bool cases_in_children(const struct CMUnitTest *tests, size_t count, const char *name);

/* For tests whose children start threads, which the thread sanitizer does not know. */
#ifdef __SANITIZE_THREAD__
#define NO_THREADS_AFTER_FORK skip()
#else
#define NO_THREADS_AFTER_FORK (void)0
#endif

/* The text of the newest error on the stack that this provider raised, or "". Clears the stack. */
const char *last_error(char *buf, size_t size);

/* The module of tests/fault, in this process; see there for rules. */
void fault(const char *rules);
void fault_callback(void (*function)(void));
unsigned long calls(const char *function);
void calls_reset(void);
void *fault_symbol(const char *name); /* what it exports */

/* How often, since the last reset, C_Initialize or C_Finalize ran beside another call. */
unsigned long calls_overlapping(void);

/* Sessions that the provider has open with the module of tests/fault. */
unsigned long sessions_open(void);

#endif
