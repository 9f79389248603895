/* Inputs for the hostile token as they stand in the corpus: text, in which everything has its name,
 * so that it means the same when something is added.
 *
 *   token FEATURE...                        of enum feature
 *   world NUMBER                            of worlds in hostile.c
 *   threads 2                               not one
 *   do DOING HOW                            up to DOINGS; "do - 0": nothing
 *   lie FUNCTION CALL KIND ARG WHICH        up to LIES; CALL and WHICH: a number, or * for each;
 *                                           WHICH: or the name of an attribute
 *   content HEX
 *
 * The fuzzer works on bytes: features, world and threads, doings, lies, content. */
#ifndef BRIDGE_HOSTILE_SEED_H
#define BRIDGE_HOSTILE_SEED_H

#include "doer.h"
#include "lies.h"

#define DOINGS     6
#define DOING_LEN  2 /* which, and how */
#define LIES       10
#define TODO_AT    2
#define LIES_AT    (TODO_AT + DOINGS * DOING_LEN)
#define CONTENT_AT (LIES_AT + LIES * LIE_LEN)
#define NO_DOING   0xff

/* The bytes of a text into out, and how many: CONTENT_AT and the content. 0 where data is no text.
 * Ends the process where it is one with words that mean nothing. */
size_t seed_bytes(const uint8_t *data, size_t size, uint8_t *out, size_t room);

/* The text of CONTENT_AT bytes or more, to the standard error. */
void seed_tell(const uint8_t *data, size_t size);

/* hostile.c: the name of a doing as its number stands in the bytes; NULL: there is none. */
const char *doing_name(unsigned number);

#endif
