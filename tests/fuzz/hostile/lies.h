/* Where a token that is otherwise honest does something else: at which call of which function, and
 * what, as the input of the fuzzer says. */
#ifndef BRIDGE_LIES_H
#define BRIDGE_LIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

enum function {
#define F(name, parameters, arguments) INDEX_##name,
#include "functions.h"
#undef F
    INDEX_C_GetFunctionList,
#define F(name, place, parameters, arguments) INDEX_##name,
#include "functions_3.h"
#undef F
    INDEX_C_GetInterface,
    FUNCTIONS
};

enum lie_kind {
    HONEST,
    ANSWER,       /* the function does nothing and returns this */
    ANSWER_AFTER, /* it does its work first */
    LENGTH,       /* another length, count, handle or flag than there is */
    CONTENT,      /* other bytes: the end of the input */
    FLIP,         /* one byte is another */
    FILL,         /* all the room is used, with a pattern; handles without end */
    EMPTY,
    NOT_THERE, /* CK_UNAVAILABLE_INFORMATION */
    TYPE,      /* the template that the module was given is written to */
    MISSING,   /* NULL in the list of functions; from the start */
    /* and before the function works: */
    EXCHANGE,  /* the token is another one from now on */
    REMOVE,    /* there is none, for some calls */
    DROP,      /* all sessions are gone */
    LOGOUT,    /* nobody is logged in */
    FINALIZED, /* the module does not know that it was initialised */
    RENUMBER,  /* handles are others' from now on */
    CALL_BACK, /* the module calls the provider */
    LIE_KINDS
};

/* As it stands in the input. which: of the attributes of a template, or from BY_TYPE on one of a
 * type, in whatever template; ALL: each. */
struct lie {
    uint8_t function, call, kind, arg, which;
};

#define LIE_LEN 5
#define BY_TYPE 0xc0 /* attributes: that of a type, lie_type_name(which - BY_TYPE) */
#define ALL     0xf0 /* calls, attributes: from here on each */

/* The name of a type of attributes that lies are about; NULL: there are no more. */
const char *lie_type_name(unsigned number);

/* A new input: count lies of LIE_LEN bytes; tail: what content is taken from. */
void lies_begin(const uint8_t *lies, size_t count, const uint8_t *tail, size_t tail_len);

/* Whether there is one about the function; whether it is missing. */
bool lies_about(enum function function);
bool lies_missing(enum function function);

/* One call begins. What it has to do is lie_now, of this thread, until the next. */
const struct lie *lie_begin(enum function function);
const struct lie *lie_now(void);
bool lie_is(enum lie_kind kind);

/* Whether the function returns *rv at once, and what it returns where it worked and was to return
 * honest. */
bool lie_answers(ck_rv_t *rv);
ck_rv_t lie_answer(ck_rv_t honest);

/* A number that the module tells: a handle, a count, flags. */
unsigned long lie_number(unsigned long honest);

/* Bytes that it tells, the index-th of several: value goes to out, where there is room for *len
 * (nowhere where out is NULL), and its length to *len; or what the lie has instead. Never more than
 * there is room. */
ck_rv_t lie_bytes(unsigned long index, void *out, unsigned long *len, const void *value,
                  unsigned long value_len);

/* The value of a secret key: a type by itself for lies, other than the value of a public one. */
#define VALUE_OF_SECRET (CKA_VENDOR_DEFINED | CKA_VALUE)

/* The same for the attribute of a template that is of this type. */
ck_rv_t lie_attribute(unsigned long index, ck_attribute_type_t type, void *out, unsigned long *len,
                      const void *value, unsigned long value_len);

/* The same for a structure, which has one size. */
void lie_structure(void *out, size_t size);

#endif
