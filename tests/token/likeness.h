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

    EVP_PKEY_CTX *pkey;

    /* What was copied lives to the end: libcrypto 3.0's copies have pointers into it. */
    EVP_MD_CTX *mds_copied[STEPS];
    EVP_PKEY_CTX *pkeys_copied[STEPS];
    size_t copied;

    struct note notes[NOTES_MAX]; /* of the step */
    size_t noted;
    char path[4096]; /* of the sequence */
    bool over;       /* what comes now differs, though the same came of it */
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

/* A difference that is wanted, or cannot be helped. What is NULL stands for anything. */
struct difference {
    const char *keys, *what;      /* patterns of fnmatch(3): the name of the twin, the note's */
    const char *software, *token; /* the values */
    const char *given;            /* is in the path of the sequence */
    unsigned long before;         /* only with a libcrypto older than this; or 0 */
    bool ends;                    /* what comes after it differs too */
    const char *reason;
};

/* Compares what both have noted in a step, and tells of what differs and is no such difference;
 * whether the sequence, whose seed this is, may go on. */
bool likeness_compare(const struct lane lanes[SIDES], const struct difference *differences,
                      uint64_t seed);

/* How many findings there were. */
unsigned long findings(void);

#endif
