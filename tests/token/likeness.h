/* Two lanes on which the same calls are made, one with a software key and one with the same key on
 * the token. What a step does it draws by lot, and the lots of both lanes are the same; what comes
 * of it it notes, and the notes are compared after each step. */
#ifndef BRIDGE_LIKENESS_H
#define BRIDGE_LIKENESS_H

#include "harness.h"

#include <openssl/params.h>

enum side { SOFTWARE, TOKEN, SIDES };

/* A key in both places. */
struct twin {
    const char *name;
    EVP_PKEY *key[SIDES];
    X509 *certificate;
    void *secret[SIDES]; /* EVP_SKEY, of a secret key, which has none of these */
};

#define MESSAGE_MAX 4096
#define NOTES_MAX   64
#define STEPS       12 /* of a sequence, at most */

/* What came of something: a number, or bytes in few words. */
struct note {
    char what[64], value[72];
};

struct lane {
    enum side side;
    OSSL_LIB_CTX *libctx;
    const struct twin *twin;
    EVP_PKEY *key; /* of the twin */
    uint64_t lots;

    EVP_MD_CTX *md;
    EVP_PKEY_CTX *md_pkey; /* the md's */
    bool md_begun, md_signs, size_asked;
    unsigned char message[MESSAGE_MAX]; /* so far */
    size_t message_len;

    size_t context_len; /* of the context string of ML-DSA */
    bool deterministic, encoded;

    const char *algorithm; /* of a signature by its name */
    bool of_message, fed;

    EVP_PKEY_CTX *pkey;
    struct secret *secret; /* contexts of a secret key */

    /* What was copied lives to the end: libcrypto 3.0's copies have pointers into it. */
    EVP_MD_CTX *mds_copied[STEPS];
    EVP_PKEY_CTX *pkeys_copied[STEPS];
    size_t copied;

    struct note notes[NOTES_MAX]; /* of the step */
    size_t noted;
    char path[4096]; /* of the sequence */
    char state[64];  /* what the rows of differences go by, behind the twin's name */
    bool over;       /* what comes now differs, though the same came of it */
};

/* What can be done next, and how often it is. */
struct step {
    const char *name;
    void (*function)(struct lane *lane);
    unsigned weight;
};
#define STEP(function, weight)                                                                     \
    {                                                                                              \
#function, function, weight                                                                \
    }

/* The first step is the first of the list: it begins something. */
struct walk {
    const struct step *steps;
    size_t count, most; /* steps that there are, and that are made */
};

/* The next lot, less than count. */
unsigned draw(struct lane *lane, unsigned count);

/* One of an array's elements. */
#define DRAW_OF(lane, array) ((array)[draw(lane, (unsigned)COUNT_OF(array))])

void draw_bytes(struct lane *lane, unsigned char *out, size_t len);

void note(struct lane *lane, const char *what, long value);
void note_text(struct lane *lane, const char *what, const char *text);
void note_bytes(struct lane *lane, const char *what, const void *bytes, size_t len);

/* Notes what a function of libcrypto's returned, and whether it left errors, which go. */
int note_call(struct lane *lane, const char *function, int returned);
#define CALL(lane, function, ...) note_call(lane, #function, function(__VA_ARGS__))

/* Memory for len bytes and not one more, and what is told of its size. */
struct room {
    unsigned char *out; /* NULL: the size is asked for */
    size_t size;
};
struct room room_draw(struct lane *lane, size_t enough);

/* What a call returned that was to fill room: whether there is something in it. The size is noted,
 * len, where that was asked for. */
bool room_filled(struct lane *lane, int ret, const struct room *room, size_t len);

/* A difference that is wanted, or cannot be helped. What is NULL stands for anything. */
struct difference {
    /* Patterns of fnmatch(3): the twin's name, perhaps with the state; the note's, and its values.
     */
    const char *keys, *what, *software, *token;
    const char *given;    /* is in the path of the sequence */
    unsigned long before; /* only with a libcrypto older than this; or 0 */
    bool ends;            /* what comes after it differs too */
    const char *reason;
};

/* Compares what both have noted in a step, and tells of what differs and is no such difference;
 * whether the sequence, whose seed this is, may go on. */
bool likeness_compare(const struct lane lanes[SIDES], const struct difference *differences,
                      uint64_t seed);

/* Those that there are (likeness-differences.c). */
extern const struct difference likeness_differences[];

/* How many findings there were. */
unsigned long findings(void);

/* What software knows of the same key (likeness-software.c). */

extern OSSL_LIB_CTX *libctxs[SIDES];

#define MODULUS    256 /* bytes of the RSA key's */
#define SHARED_MAX 17200

bool is_a(const struct lane *lane, const char *type);
bool is_rsa(const struct lane *lane); /* RSA-PSS too */
bool is_edwards(const struct lane *lane);
bool is_pq_dsa(const struct lane *lane);
bool is_ml_kem(const struct lane *lane);
bool takes_digest(const struct lane *lane); /* else it hashes by itself */

/* Notes a signature of hash by a lane's context: itself, where it is always the same; or else
 * whether software verifies it, and how long the salt is. */
void note_signature(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
                    size_t hash_len, const unsigned char *sig, size_t len);

/* Whether software finds this secret in a ciphertext of ML-KEM. */
void note_encapsulated(struct lane *lane, const unsigned char *wrapped, size_t len,
                       const unsigned char *secret, size_t secret_len);

/* What software decrypts of a ciphertext by the lane's pkey. */
void note_ciphertext(struct lane *lane, const unsigned char *in, size_t in_len);

/* The hash of the lane's message so far; its length. */
size_t hash_message(const struct lane *lane, unsigned char *hash);

/* What is made in software once for both lanes, when the first comes to it: a signature of hash for
 * one that verifies with ctx, of the message for what hashes by itself, a ciphertext of text for
 * its pkey. */
void signature_share(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
                     size_t hash_len);
void whole_share(const struct lane *lane);
void encapsulation_share(const struct lane *lane);
void ciphertext_share(struct lane *lane, const unsigned char *text, size_t len);

void shared_set(const unsigned char *bytes, size_t len);

/* It as a lane is given it, in out (SHARED_MAX + 8 bytes), sometimes with a fault; its length.
 * *is_whole, where it is not NULL: it is what was to be made. */
size_t shared_spoilt(struct lane *lane, unsigned char *out, bool *is_whole);

/* Parameters of contexts and keys (likeness-params.c). */

#define DIGESTS 14
extern const char *const digests[DIGESTS]; /* some of which there are not */

/* Notes which of the names the list has. */
void note_list(struct lane *lane, const char *what, const OSSL_PARAM *list,
               const char *const *names, size_t count);

/* Notes the answer to one question, in the type in which programs ask, sometimes into a buffer that
 * is too small. */
struct asked {
    const char *name;
    unsigned type; /* OSSL_PARAM_* */
};
void note_answer(struct lane *lane, const struct asked *one,
                 int (*get)(void *from, OSSL_PARAM *params), void *from);

/* Asks a context for something, sets something, also what there is not. */
void note_ctx(struct lane *lane, EVP_PKEY_CTX *ctx);
void set_something(struct lane *lane, EVP_PKEY_CTX *ctx);

/* Context strings are the beginning of this. */
extern unsigned char octets[7];

/* Parameters for the beginning of an operation (5 at most), none twice; NULL as often. */
const OSSL_PARAM *params_draw(struct lane *lane, OSSL_PARAM *params);

/* Messages of CMS, with the twin's certificate (likeness-cms.c). */
X509 *certificate_make(EVP_PKEY *key, EVP_PKEY *issuer);
void cms_sign(struct lane *lane);
void cms_decrypt(struct lane *lane);

/* Signatures by algorithms that are named (likeness-messages.c): whether this libcrypto has such.
 */
bool messages_found(void);
extern const struct walk message_walk;

/* Secret keys (likeness-secret.c): the twins that there are, at most SECRETS; a walk for one. */
#define SECRETS 3
size_t secrets_make(struct twin *twins);
void secrets_free(struct twin *twins, size_t count);
const struct walk *secret_walk_draw(struct lane *chooser, const struct twin *twin);
void secret_begin(struct lane *lane);
void secret_end(struct lane *lane);

#endif
