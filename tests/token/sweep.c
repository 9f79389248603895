#include "sweep.h"

#include <openssl/err.h>

#include "harness.h"

/* What may pass: a second try succeeds. */
static bool passes(const char *ckr)
{
    static const char *const transient[] = {
        "CKR_CRYPTOKI_NOT_INITIALIZED",
        "CKR_FUNCTION_FAILED",
        "CKR_GENERAL_ERROR",
        "CKR_HOST_MEMORY",
        "CKR_DEVICE_ERROR",
        "CKR_DEVICE_MEMORY",
        "CKR_DEVICE_REMOVED",
        "CKR_SESSION_CLOSED",
        "CKR_SESSION_HANDLE_INVALID",
        "CKR_SESSION_COUNT",
        "CKR_OPERATION_ACTIVE",
        "CKR_OPERATION_NOT_INITIALIZED",
        "CKR_KEY_HANDLE_INVALID",
        "CKR_OBJECT_HANDLE_INVALID",
        "CKR_USER_NOT_LOGGED_IN",
        "CKR_USER_ALREADY_LOGGED_IN",
        "CKR_TOKEN_NOT_PRESENT",
        "CKR_SLOT_ID_INVALID",
        "CKR_CANT_LOCK",
        "CKR_CRYPTOKI_ALREADY_INITIALIZED",
        "CKR_TOKEN_RESOURCE_EXCEEDED",
        "CKR_OPERATION_CANCEL_FAILED",
    };

    for (size_t i = 0; i < COUNT_OF(transient); i++)
        if (strcmp(transient[i], ckr) == 0)
            return true;
    return false;
}

static struct {
    unsigned run, unnoticed, told;
} tally;

/* A failure names function and value; but some are known by what follows from them, and told by
 * that: the values of an attribute that is not there, a slot that has no token. */
static bool is_told(const char *error, const char *function, const char *ckr)
{
    static const char *const otherwise[] = { "its attributes are not",
                                             "its CKA_KEY_TYPE is not",
                                             "its public half is not",
                                             "no token matches",
                                             "no longer on the token",
                                             "is not one that this",
                                             "were busy for",
                                             "the padding is wrong",
                                             "half of the new key cannot be read",
                                             "does not show its CKA_CLASS" };

    if (strstr(error, function) != NULL && strstr(error, ckr) != NULL)
        return true;
    for (size_t i = 0; i < COUNT_OF(otherwise); i++)
        if (strstr(error, otherwise[i]) != NULL)
            return true;
    return false;
}

/* Each C_Login may cost the token a try, and a module that fails does not say whether it did: an
 * operation calls it once, and passes nothing over but that somebody is logged in. Only where there
 * is no PIN yet, none is tried: that may be a moment in which another process writes the token's
 * file. */
static void check_login(const char *ckr, bool once, bool ok, const char *error)
{
    bool no_pin = strcmp(ckr, "CKR_USER_PIN_NOT_INITIALIZED") == 0;

    if (ok != (strcmp(ckr, "CKR_USER_ALREADY_LOGGED_IN") == 0 || (no_pin && once)))
        fail_msg("C_Login: %s: %s", ckr, ok ? "not noticed" : error);
    if (calls("C_Login") != 1 && !no_pin)
        fail_msg("C_Login: %s: %lu calls in one operation", ckr, calls("C_Login"));
    if (!ok && (strstr(error, "C_Login") == NULL || strstr(error, ckr) == NULL))
        fail_msg("C_Login: %s is told as: %s", ckr, error);
}

static void check(const struct paths *paths, const struct row *row, const char *ckr, bool once)
{
    /* that the user is logged in is said by a token where he is */
    const char *effect = strcmp(ckr, "CKR_USER_ALREADY_LOGGED_IN") == 0 ? "after" : "";
    const char *name = paths->names[row->path];
    char rule[128], error[600];
    bool login = strcmp(row->function, "C_Login") == 0, ok;

    paths->begin(row->path);
    snprintf(rule, sizeof(rule), "%s 1 %s %s %s", row->function, once ? "1" : "*", ckr, effect);
    fault(rule);
    calls_reset();
    ERR_clear_error();
    ok = paths->walk(row->path);
    if (calls(row->function) == 0)
        fail_msg("%s never calls %s", name, row->function);
    fault("");
    tally.run++;
    tally.unnoticed += ok;
    tally.told += !ok;
    (void)last_error(error, sizeof(error));
    if (login)
        check_login(ckr, once, ok, error);
    else if (once && passes(ckr) && !ok)
        fail_msg("%s: %s once: %s: %s", name, row->function, ckr, error);
    if (!ok && !is_told(error, row->function, ckr))
        fail_msg("%s: %s %s: %s is told as: %s", name, row->function, once ? "once" : "for ever",
                 ckr, error);
    ERR_clear_error();
    if (!paths->walk(row->path))
        fail_msg("%s: %s %s: %s: afterwards: %s", name, row->function, once ? "once" : "for ever",
                 ckr, last_error(error, sizeof(error)));
    paths->end();
}

static void check_row(const struct paths *paths, const struct row *row, bool once)
{
    char *list = strdup(row->ckrs), *rest = NULL;

    for (char *ckr = strtok_r(list, " ", &rest); ckr != NULL; ckr = strtok_r(NULL, " ", &rest))
        check(paths, row, ckr, once);
    free(list);
}

void sweep(const struct paths *paths, const struct row *rows, size_t count, bool once)
{
    tally.run = tally.unnoticed = tally.told = 0;
    for (size_t i = 0; i < count; i++)
        check_row(paths, &rows[i], once);
    printf("%s: %u combinations: %u not noticed, %u errors that say what happened\n",
           once ? "once" : "for ever", tally.run, tally.unnoticed, tally.told);
}
