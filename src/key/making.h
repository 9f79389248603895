/* What the making of a pair (generate.c) and of a secret key (secret_make.c) have in common. */
#ifndef BRIDGE_KEY_MAKING_H
#define BRIDGE_KEY_MAKING_H

#include "instance/instance.h"
#include "token/run.h"
#include "uri/uri.h"

/* What is made; the first four are for a witness. */
struct making {
    const char *what;                   /* "generate", "import", "derive" */
    const CK_MECHANISM_TYPE *mechanism; /* NULL: none is named */
    const struct uri *uri;              /* what it is called; it may have no names */
    struct names with;                  /* what it is unwrapped with, or derived from */
    struct pin_source *pins;
    void *arg; /* of the tasks */
};

/* Another way to make an object than to generate it or to create it of values: on session, with
 * this template. */
typedef CK_RV making_fn(struct session *session, void *arg, CK_ATTRIBUTE *list, CK_ULONG count,
                        struct handle *made);
struct making_way {
    const char *what; /* these three as in struct making */
    const CK_MECHANISM_TYPE *mechanism;
    struct names with;
    making_fn *make;
    void (*failed)(CK_RV rv, void *arg, const char *uri); /* raises the error for what came of it */
    void *arg;
};

/* Runs task on slot, logged in; the token may be in another slot by now. */
CK_RV making_run(struct slot *slot, enum purpose purpose, const struct making *making,
                 session_task *task);

/* The last try to leave nothing behind, which keeps the call_name of what failed. */
bool making_sweep(struct slot *slot, struct pin_source *pins, session_task *sweep, void *arg);

/* Session objects, which are made on a keeper, of which there are few: no call but that one. They
 * are read on any session; read says RV_KEY_GONE where they went with their keeper meanwhile, and
 * both are done again, a few times. drop destroys what was made and could not be read. */
struct making_session {
    session_task *make, *read;
    void (*drop)(struct slot *slot, void *arg);
};

CK_RV making_session_objects(struct slot *slot, const struct making *making,
                             const struct making_session *tasks);

/* Those that uri has. */
struct names making_names(const struct uri *uri);

/* Whether an object of one of the classes has the label or the id of uri already: *taken is "label"
 * or "id" then, and stays as it is otherwise. */
CK_RV making_look(struct session *session, const struct uri *uri, const CK_OBJECT_CLASS *classes,
                  size_t count, const char **taken);

/* Raises the error for what that found, "label" or "id"; owner: "a key". False. */
bool making_refuse_taken(const struct provider *provider, const struct uri *uri, const char *owner,
                         const char *taken);

/* Destroys objects of that class with an id of ours (MAKING_ID_LEN bytes): what a try that failed
 * may have left. And what is raised where that cannot be. */
CK_RV making_destroy(struct session *session, CK_OBJECT_CLASS class, const uint8_t *id);
void making_left(const struct provider *provider, const struct uri *uri);

/* A random CKA_ID. False with an error raised, which says what cannot be done. */
#define MAKING_ID_LEN 20
bool making_id(const struct provider *provider, const char *verb, uint8_t *id);

#endif
