/* A PKCS#11 module that forwards every call to the one that FAULT_MODULE names, counts the calls,
 * and does wrong what rules tell it to.
 *
 * Rules come from fault_rules (a test in the same process opens the module with dlopen), from the
 * environment (FAULT_RULES) or from the file that FAULT_CONTROL names, which is read again whenever
 * it changes. They are divided by newlines or semicolons:
 *
 *     FUNCTION FIRST TIMES ANSWER [EFFECT]...
 *
 * From the FIRST call of FUNCTION on ("*": any), counted since the rule was set, TIMES times ("*":
 * for ever) the ANSWER is given, a CKR_ name, without calling the real module; "-" forwards.
 * Effects:
 *
 *     after           call the real module first, and give the answer all the same
 *     delay=MS        sleep before
 *     drop-sessions   close all sessions of the real module before, as a reboot does
 *     logout          log out of every token before
 *     callback        call the function that fault_callback was given, before
 *     hold            make the file that FAULT_HOLD names, and wait until somebody removes it,
 * before remove, insert  the tokens are taken out, or are back, from this call on len=N what the
 * function says that it wrote: N bytes, or so many more (+N) or less
 *                     (-N) than it did, or "none" for CK_UNAVAILABLE_INFORMATION. Of all that
 *                     C_GetAttributeValue reads, or of one with
 *     of=CKA_NAME
 *     count=N         the same for the number of slots or objects
 *     pieces=N        C_FindObjects gives N objects at most
 *     endless=KIND    C_FindObjects gives as many objects as it is asked for, for ever: "new" ones,
 *                     or the "same"
 *     text=KIND       the texts of C_GetTokenInfo: "full" (to the last byte, without padding),
 * "nul" (with NUL for padding), "nul-inside", "control" or "not-utf8" (with such characters behind
 * them) flags=HEX       what C_GetMechanismInfo says, beside key sizes that make no sense (these
 * five change what the real module said, once it was called, and nothing that it wrote into buffers
 * of the caller's length) slots=ID:REAL,...  from this call on there are no slots but these, each
 * with the token that the real module has in slot REAL, and all sessions are closed; "slots=" for
 * the real module's own. It outlives the rule. Numbers in hex token=LABEL     only calls for this
 * token count: by a slot of it or by a session with it until-restart   the rule ends with the next
 * C_Initialize, which it does not apply to
 *
 * and "sessions N" lets no more than N be open, "token-flags HEX" and "slot-flags HEX" add these
 * flags to what C_GetTokenInfo and C_GetSlotInfo say, "token-flags HEX LABEL" of one token. "lacks
 * FUNCTION" has NULL in the function list, for calls that begin after it. "hide
 * HEX" is a mechanism that the token does not have, and with "unpadded" it decrypts with
 * CKM_RSA_PKCS as if it were CKM_RSA_X_509: it leaves the padding on. With "rsa-aes-wrap" it has
 * CKM_RSA_AES_KEY_WRAP, made of the two mechanisms that the real module has. An ANSWER may also be
 * a number, 0x and hexadecimal digits. The file that FAULT_COUNTS names says at the end of the
 * process "NAME NUMBER" for each function that was called. The file that FAULT_LOGINS names gets a
 * line with the serial number for each C_Login that reaches a token, from all processes. The file
 * that FAULT_TOUCH names is another, by its time, once this module is loaded. The one that
 * FAULT_LOADS names is made when that begins, and it takes half a second; a process in which it has
 * not come to its end gets CKR_GENERAL_ERROR from all functions. No lock is held while the real
 * module works or this one sleeps.
 *
 * It has the interfaces of PKCS#11 v3.0 and v3.2 that the real module has, unless FAULT_INTERFACE
 * says otherwise. C_GetAttributeValue stops at the attribute that FAULT_STOPS has the number of, in
 * hexadecimal digits, as at one that the token does not know: it sets no length from there on.
 *
 * count_overlaps says how often C_Initialize or C_Finalize was called while a call of another
 * thread had not come back, or any call while one of these two had not. */
#define CRYPTOKI_GNU
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Newer headers of p11-kit declare it, with a structure of theirs. */
#define C_GetInterface declared_otherwise
#include <p11-kit/pkcs11.h>
#undef C_GetInterface

#define EXPORT __attribute__((visibility("default")))

/* Newer than some headers of p11-kit. */
#ifndef CKR_TOKEN_RESOURCE_EXCEEDED
#define CKR_TOKEN_RESOURCE_EXCEEDED 0x201UL
#endif
#ifndef CKR_OPERATION_CANCEL_FAILED
#define CKR_OPERATION_CANCEL_FAILED 0x202UL
#endif
#define CKM_RSA_AES_KEY_WRAP_ 0x1054UL
#define CKM_AES_KEY_WRAP_PAD_ 0x210aUL

struct rsa_aes_params {
    unsigned long aes_bits;
    void *oaep;
};
#define OAEP_PARAMS_LEN (5 * sizeof(unsigned long))

static unsigned char yes = 1;

enum function {
#define F(name, parameters, arguments) INDEX_##name,
#include "functions.h"
#undef F
#define F(name, place, parameters, arguments) INDEX_##name,
#include "functions_3.h"
#undef F
    FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
#define F(name, parameters, arguments) #name,
#include "functions.h"
#undef F
#define F(name, place, parameters, arguments) #name,
#include "functions_3.h"
#undef F
};

static const struct {
    const char *name;
    ck_rv_t rv;
} ckrs[] = {
#define R(name) { #name, name },
#include "ckrs.h"
#undef R
};

#define ANY      FUNCTIONS
#define FOR_EVER (~0UL)
#define RULES    16
#define PLACES   4

/* The slot id has the token that is in the real module's slot real. */
struct place {
    ck_slot_id_t id, real;
};

/* What is said instead of a length or a number. */
struct number {
    enum { AS_IT_IS, INSTEAD, MORE, LESS } how;
    unsigned long value;
};

/* What follows a token's texts. */
static const struct text {
    const char *name;
    const char *behind; /* len bytes */
    size_t len;
    char padding;
} texts[] = {
    { "full", "", 0, 'x' },
    { "nul", "", 0, '\0' },
    { "nul-inside", "\0x", 2, ' ' },
    { "control", "\x1b[31m\r\n\x7f", 8, ' ' },
    { "not-utf8", "\xff\xc3\x28\xc0\x80", 5, ' ' },
};

/* What a module says that is not so. */
struct lie {
    struct number len, count;
    unsigned long pieces; /* 0: as they come */
    enum { ENDS, ENDLESS_NEW, ENDLESS_SAME } endless;
    bool one; /* len is of this attribute only */
    ck_attribute_type_t of;
    const struct text *text;
    bool has_flags;
    unsigned long flags;
};

struct rule {
    unsigned function; /* or ANY */
    unsigned long first, times, calls;
    bool answers;
    ck_rv_t rv;
    bool after, drop_sessions, logout, callback, hold, remove, insert, until_restart, exchange;
    unsigned delay;
    struct place places[PLACES];
    unsigned place_count;
    struct lie lie;
    char token[33]; /* "": any, or none */
};

/* A list of PKCS#11 v3.0 or v3.2. */
struct list_3 {
    struct ck_function_list v2_40;
    void (*newer[36])(void);
};
#define NEWER_IN_3_0 24

static struct ck_function_list *real;
static struct list_3 *real_3; /* the same, or NULL */
static atomic_ulong counts[FUNCTIONS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over what follows */
static struct rule rules[RULES];
static unsigned rule_count;
static long sessions_open, sessions_opening, sessions_most = -1;
static bool removed;
static char flags_label[33]; /* whose flags; "": those of all */
static bool loaded;          /* as far as its constructor goes */
static unsigned long token_flags, slot_flags, hidden = CKM_VENDOR_DEFINED;
static bool unpadded, rsa_aes;
static bool lacks[FUNCTIONS];
static struct timespec control_time;
static void (*callback)(void);
static bool by_token;                 /* a rule is */
static unsigned inside, inside_alone; /* calls that have not come back: all, and of is_alone */
static unsigned long overlaps;

static bool find_function(const char *name, unsigned *function)
{
    *function = ANY;
    for (unsigned i = 0; i < FUNCTIONS; i++)
        if (strcmp(names[i], name) == 0)
            *function = i;
    return *function != ANY || strcmp(name, "*") == 0;
}

static bool find_answer(const char *name, struct rule *rule)
{
    rule->answers = strcmp(name, "-") != 0;
    for (size_t i = 0; i < sizeof(ckrs) / sizeof(ckrs[0]); i++)
        if (strcmp(ckrs[i].name, name) == 0) {
            rule->rv = ckrs[i].rv;
            return true;
        }
    return !rule->answers || sscanf(name, "0x%lx", &rule->rv) == 1;
}

static bool read_number(const char *text, struct number *number)
{
    char *end;

    number->how = text[0] == '+' ? MORE : text[0] == '-' ? LESS : INSTEAD;
    number->value = CK_UNAVAILABLE_INFORMATION;
    if (strcmp(text, "none") == 0)
        return true;
    text += number->how != INSTEAD;
    number->value = strtoul(text, &end, 10);
    return end != text && *end == '\0';
}

static bool add_len(const char *value, struct lie *lie)
{
    return read_number(value, &lie->len);
}

static bool add_count(const char *value, struct lie *lie)
{
    return read_number(value, &lie->count);
}

#define A(type)                                                                                    \
    {                                                                                              \
#type, type                                                                                \
    }

static bool add_of(const char *value, struct lie *lie)
{
    static const struct {
        const char *name;
        ck_attribute_type_t type;
    } attributes[] = {
        A(CKA_CLASS),
        A(CKA_KEY_TYPE),
        A(CKA_ID),
        A(CKA_LABEL),
        A(CKA_VALUE),
        A(CKA_MODULUS),
        A(CKA_PUBLIC_EXPONENT),
        A(CKA_EC_PARAMS),
        A(CKA_EC_POINT),
        A(CKA_SIGN),
        A(CKA_DECRYPT),
        A(CKA_DERIVE),
        A(CKA_ALWAYS_AUTHENTICATE),
        A(CKA_ALLOWED_MECHANISMS),
        { "CKA_PUBLIC_KEY_INFO", 0x129 }, /* newer than p11-kit's names */
        { "CKA_PARAMETER_SET", 0x61d },
    };

    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        if (strcmp(attributes[i].name, value) == 0) {
            lie->one = true;
            lie->of = attributes[i].type;
        }
    return lie->one;
}

static bool add_text(const char *value, struct lie *lie)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(texts[i].name, value) == 0)
            lie->text = &texts[i];
    return lie->text != NULL;
}

static bool add_flags(const char *value, struct lie *lie)
{
    lie->has_flags = sscanf(value, "%lx", &lie->flags) == 1;
    return lie->has_flags;
}

static bool add_pieces(const char *value, struct lie *lie)
{
    lie->pieces = strtoul(value, NULL, 10);
    return lie->pieces != 0;
}

static bool add_endless(const char *value, struct lie *lie)
{
    lie->endless = strcmp(value, "new") == 0 ? ENDLESS_NEW : ENDLESS_SAME;
    return lie->endless == ENDLESS_NEW || strcmp(value, "same") == 0;
}

static bool add_lie(const char *effect, struct lie *lie)
{
    static const struct {
        const char *word;
        bool (*add)(const char *value, struct lie *lie);
    } lies[] = { { "len=", add_len },       { "of=", add_of },           { "count=", add_count },
                 { "pieces=", add_pieces }, { "endless=", add_endless }, { "text=", add_text },
                 { "flags=", add_flags } };

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
        if (strncmp(effect, lies[i].word, strlen(lies[i].word)) == 0)
            return lies[i].add(effect + strlen(lies[i].word), lie);
    return false;
}

static bool add_places(const char *text, struct rule *rule)
{
    int len = 0;

    rule->exchange = true;
    for (; *text != '\0' && rule->place_count < PLACES; text += len + (text[len] == ',')) {
        struct place *place = &rule->places[rule->place_count++];

        if (sscanf(text, "%lx:%lx%n", &place->id, &place->real, &len) != 2)
            return false;
    }
    return *text == '\0';
}

static bool add_effect(const char *effect, struct rule *rule)
{
    bool *const flags[] = { &rule->after,         &rule->drop_sessions, &rule->logout,
                            &rule->callback,      &rule->remove,        &rule->insert,
                            &rule->until_restart, &rule->hold };
    static const char *const words[] = { "after",  "drop-sessions", "logout",        "callback",
                                         "remove", "insert",        "until-restart", "hold" };
    char token[33];

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], effect) == 0) {
            *flags[i] = true;
            return true;
        }
    if (strncmp(effect, "slots=", 6) == 0)
        return add_places(effect + 6, rule);
    if (sscanf(effect, "token=%32s", token) == 1) {
        (void)snprintf(rule->token, sizeof(rule->token), "%-32s", token);
        return true;
    }
    return sscanf(effect, "delay=%u", &rule->delay) == 1 || add_lie(effect, &rule->lie);
}

/* Takes a line apart; false for what is no rule. */
static bool parse_rule(char *line, struct rule *rule)
{
    char *rest = NULL;
    char *function = strtok_r(line, " \t", &rest), *first = strtok_r(NULL, " \t", &rest);
    char *times = strtok_r(NULL, " \t", &rest), *answer = strtok_r(NULL, " \t", &rest);
    char *effect;

    *rule = (struct rule){ 0 };
    if (answer == NULL || !find_function(function, &rule->function) || !find_answer(answer, rule))
        return false;
    rule->first = strtoul(first, NULL, 10);
    rule->times = strcmp(times, "*") == 0 ? FOR_EVER : strtoul(times, NULL, 10);
    while ((effect = strtok_r(NULL, " \t", &rest)) != NULL)
        if (!add_effect(effect, rule))
            return false;
    return rule->first != 0;
}

static bool add_lack(const char *line)
{
    char name[32];
    unsigned function;

    if (sscanf(line, "lacks %31s", name) != 1 || !find_function(name, &function) || function == ANY)
        return false;
    lacks[function] = true;
    return true;
}

static void list_functions(void);

/* Under the lock. A mistake in a test must not look like a token that works. */
static void set_rules(const char *text)
{
    char *copy = strdup(text), *rest = NULL;

    rule_count = 0;
    by_token = strstr(text, "token=") != NULL;
    sessions_most = -1;
    token_flags = slot_flags = 0;
    flags_label[0] = '\0';
    hidden = CKM_VENDOR_DEFINED;
    unpadded = rsa_aes = false;
    memset(lacks, 0, sizeof(lacks));
    for (char *line = strtok_r(copy, ";\n", &rest); line != NULL;
         line = strtok_r(NULL, ";\n", &rest)) {
        line += strspn(line, " \t");
        if (*line == '\0' || sscanf(line, "sessions %ld", &sessions_most) == 1 ||
            sscanf(line, "token-flags %lx %32s", &token_flags, flags_label) >= 1 ||
            sscanf(line, "slot-flags %lx", &slot_flags) == 1 ||
            sscanf(line, "hide %lx", &hidden) == 1 || (unpadded |= strcmp(line, "unpadded") == 0) ||
            (rsa_aes |= strcmp(line, "rsa-aes-wrap") == 0) || add_lack(line))
            continue;
        if (rule_count == RULES || !parse_rule(line, &rules[rule_count++])) {
            (void)fprintf(stderr, "fault: not a rule: %s\n", line);
            abort();
        }
    }
    free(copy);
    list_functions();
}

/* Under the lock */
static void read_control(void)
{
    const char *path = getenv("FAULT_CONTROL");
    char text[2048];
    struct stat now;
    size_t len;
    FILE *file;

    if (path == NULL || stat(path, &now) != 0 ||
        (now.st_mtim.tv_sec == control_time.tv_sec && now.st_mtim.tv_nsec == control_time.tv_nsec))
        return;
    control_time = now.st_mtim;
    file = fopen(path, "r");
    if (file == NULL)
        return;
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    set_rules(text);
}

/* What the token that was removed says. */
static bool answer_removed(enum function function, struct rule *verdict)
{
    switch (function) {
    case INDEX_C_Initialize:
    case INDEX_C_Finalize:
    case INDEX_C_GetInfo:
    case INDEX_C_GetSlotList:
        return false;
    case INDEX_C_GetSlotInfo:
    case INDEX_C_GetTokenInfo:
    case INDEX_C_GetMechanismList:
    case INDEX_C_GetMechanismInfo:
    case INDEX_C_OpenSession:
        verdict->rv = CKR_TOKEN_NOT_PRESENT;
        break;
    default:
        verdict->rv = CKR_DEVICE_REMOVED;
    }
    verdict->answers = true;
    return true;
}

/* Modules are not made for sessions that vanish under a call: SoftHSM crashes. What a rule does to
 * all sessions waits for the calls under way. */
static pthread_rwlock_t calls_under_way = PTHREAD_RWLOCK_INITIALIZER;

/* What the first argument of a function is. */
enum subject { MODULE, SLOT, SESSION };

static enum subject subject_of(enum function function)
{
    switch (function) {
    case INDEX_C_Initialize:
    case INDEX_C_Finalize:
    case INDEX_C_GetInfo:
    case INDEX_C_GetSlotList:
    case INDEX_C_WaitForSlotEvent:
        return MODULE;
    case INDEX_C_GetSlotInfo:
    case INDEX_C_GetTokenInfo:
    case INDEX_C_GetMechanismList:
    case INDEX_C_GetMechanismInfo:
    case INDEX_C_InitToken:
    case INDEX_C_OpenSession:
    case INDEX_C_CloseAllSessions:
        return SLOT;
    default:
        return SESSION;
    }
}

/* The label, padded, of the token that a call is for. */
static void find_token(enum function function, unsigned long argument, char *label)
{
    struct ck_session_info session = { .slot_id = argument };
    struct ck_token_info token;
    enum subject subject = subject_of(function);

    (void)pthread_rwlock_rdlock(&calls_under_way);
    if (subject != MODULE &&
        (subject == SLOT || real->C_GetSessionInfo(argument, &session) == CKR_OK) &&
        real->C_GetTokenInfo(session.slot_id, &token) == CKR_OK)
        memcpy(label, token.label, sizeof(token.label));
    (void)pthread_rwlock_unlock(&calls_under_way);
}

static bool rules_by_token(void)
{
    bool are;

    (void)pthread_mutex_lock(&lock);
    read_control();
    are = by_token;
    (void)pthread_mutex_unlock(&lock);
    return are;
}

/* Under the lock: whether the rule is for this call. */
static bool applies(struct rule *rule, enum function function, const char *token)
{
    if (rule->function != ANY && rule->function != function)
        return false;
    if (rule->token[0] != '\0' && strcmp(rule->token, token) != 0)
        return false;
    rule->calls++;
    return rule->calls >= rule->first &&
           (rule->times == FOR_EVER || rule->calls - rule->first < rule->times);
}

/* Under the lock */
static void end_rules(void)
{
    for (unsigned i = 0; i < rule_count; i++)
        if (rules[i].until_restart)
            rules[i].times = 0;
}

static bool is_alone(enum function function)
{
    return function == INDEX_C_Initialize || function == INDEX_C_Finalize;
}

/* Under the lock */
static void enter(enum function function)
{
    overlaps += (is_alone(function) ? inside : inside_alone) != 0;
    inside++;
    inside_alone += is_alone(function);
}

static void leave(enum function function)
{
    (void)pthread_mutex_lock(&lock);
    inside--;
    inside_alone -= is_alone(function);
    (void)pthread_mutex_unlock(&lock);
}

static bool calls_real(const struct rule *verdict)
{
    return !verdict->answers || verdict->after;
}

/* What to do with this call: the first rule that applies. */
static struct rule judge(enum function function, unsigned long argument)
{
    struct rule verdict = { 0 };
    char token[33] = "";
    bool found = false;

    atomic_fetch_add(&counts[function], 1);
    if (rules_by_token())
        find_token(function, argument, token);
    (void)pthread_mutex_lock(&lock);
    enter(function);
    if (function == INDEX_C_Initialize)
        end_rules();
    for (unsigned i = 0; i < rule_count; i++)
        if (applies(&rules[i], function, token) && !found) {
            verdict = rules[i];
            found = true;
        }
    if (!loaded)
        verdict = (struct rule){ .answers = true, .rv = CKR_GENERAL_ERROR };
    removed = (removed || verdict.remove) && !verdict.insert;
    if (!verdict.answers && removed)
        (void)answer_removed(function, &verdict);
    if (!verdict.answers && function == INDEX_C_OpenSession && sessions_most >= 0 &&
        sessions_open + sessions_opening >= sessions_most) {
        verdict.answers = true;
        verdict.rv = CKR_SESSION_COUNT;
    }
    sessions_opening += function == INDEX_C_OpenSession && calls_real(&verdict);
    (void)pthread_mutex_unlock(&lock);
    return verdict;
}

/* Calls act for every slot with a token. */
static void each_slot(void (*act)(ck_slot_id_t slot))
{
    ck_slot_id_t slots[64];
    unsigned long count = 64;

    if (real->C_GetSlotList(1, slots, &count) == CKR_OK)
        for (unsigned long i = 0; i < count; i++)
            act(slots[i]);
}

static void drop_sessions(ck_slot_id_t slot)
{
    (void)real->C_CloseAllSessions(slot);
    (void)pthread_mutex_lock(&lock);
    sessions_open = 0;
    (void)pthread_mutex_unlock(&lock);
}

static void logout(ck_slot_id_t slot)
{
    ck_session_handle_t session;

    if (real->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) != CKR_OK)
        return;
    (void)real->C_Logout(session);
    (void)real->C_CloseSession(session);
}

/* Over these: calls_under_way. None: the slots are the real module's. */
static struct place places[PLACES];
static unsigned place_count;

static void exchange(const struct rule *verdict)
{
    memcpy(places, verdict->places, sizeof(places));
    place_count = verdict->place_count;
}

/* The real module, with the tokens in other slots. */
static struct ck_function_list placed;

/* false for a slot without a token */
static bool find_place(ck_slot_id_t *slot)
{
    for (unsigned i = 0; i < place_count; i++)
        if (places[i].id == *slot) {
            *slot = places[i].real;
            return true;
        }
    return place_count == 0;
}

#define PLACED(name, parameters, arguments)                                                        \
    static ck_rv_t placed_##name parameters                                                        \
    {                                                                                              \
        return find_place(&slot) ? real->name arguments : CKR_TOKEN_NOT_PRESENT;                   \
    }
PLACED(C_GetSlotInfo, (ck_slot_id_t slot, struct ck_slot_info *info), (slot, info))
PLACED(C_GetTokenInfo, (ck_slot_id_t slot, struct ck_token_info *info), (slot, info))
PLACED(C_GetMechanismList, (ck_slot_id_t slot, ck_mechanism_type_t *list, unsigned long *count),
       (slot, list, count))
PLACED(C_GetMechanismInfo,
       (ck_slot_id_t slot, ck_mechanism_type_t type, struct ck_mechanism_info *info),
       (slot, type, info))
PLACED(C_OpenSession,
       (ck_slot_id_t slot, ck_flags_t flags, void *application, ck_notify_t notify,
        ck_session_handle_t *session),
       (slot, flags, application, notify, session))
PLACED(C_CloseAllSessions, (ck_slot_id_t slot), (slot))
#undef PLACED

/* For the functions that lie: what the rule of this thread's last call is. */
static _Thread_local struct lie lie;

static ck_rv_t placed_C_FindObjects(ck_session_handle_t session, ck_object_handle_t *objects,
                                    unsigned long most, unsigned long *count)
{
    return real->C_FindObjects(session, objects,
                               lie.pieces != 0 && lie.pieces < most ? lie.pieces : most, count);
}

static ck_rv_t placed_C_GetSlotList(unsigned char token_present, ck_slot_id_t *slots,
                                    unsigned long *count)
{
    unsigned long room = *count;

    if (place_count == 0)
        return real->C_GetSlotList(token_present, slots, count);
    *count = place_count;
    if (slots != NULL && room < place_count)
        return CKR_BUFFER_TOO_SMALL;
    for (unsigned i = 0; slots != NULL && i < place_count; i++)
        slots[i] = places[i].id;
    return CKR_OK;
}

/* One write for a line, which other processes do not break. */
static void note_login(const struct ck_token_info *token)
{
    const char *path = getenv("FAULT_LOGINS");
    FILE *file = path != NULL ? fopen(path, "a") : NULL;

    if (file == NULL)
        return;
    (void)fprintf(file, "%.16s\n", (const char *)token->serial_number);
    (void)fclose(file);
}

static ck_rv_t placed_C_Login(ck_session_handle_t session, ck_user_type_t user_type,
                              unsigned char *pin, unsigned long pin_len)
{
    struct ck_session_info info;
    struct ck_token_info token;

    if (real->C_GetSessionInfo(session, &info) == CKR_OK &&
        real->C_GetTokenInfo(info.slot_id, &token) == CKR_OK)
        note_login(&token);
    return real->C_Login(session, user_type, pin, pin_len);
}

static void place_tokens(void)
{
    placed = *real;
    placed.C_GetSlotList = placed_C_GetSlotList;
    placed.C_FindObjects = placed_C_FindObjects;
    placed.C_GetSlotInfo = placed_C_GetSlotInfo;
    placed.C_GetTokenInfo = placed_C_GetTokenInfo;
    placed.C_GetMechanismList = placed_C_GetMechanismList;
    placed.C_GetMechanismInfo = placed_C_GetMechanismInfo;
    placed.C_OpenSession = placed_C_OpenSession;
    placed.C_CloseAllSessions = placed_C_CloseAllSessions;
    placed.C_Login = placed_C_Login;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec pause = { (time_t)(ms / 1000), (long)((ms % 1000) * 1000000) };

    (void)nanosleep(&pause, NULL);
}

static void hold(void)
{
    const char *path = getenv("FAULT_HOLD");

    (void)close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
    while (access(path, F_OK) == 0)
        sleep_ms(10);
}

static void prepare(const struct rule *verdict)
{
    if (verdict->delay != 0)
        sleep_ms(verdict->delay);
    if (verdict->hold)
        hold();
    if (verdict->callback)
        callback();
    if (!verdict->drop_sessions && !verdict->remove && !verdict->logout && !verdict->exchange)
        return;
    (void)pthread_rwlock_wrlock(&calls_under_way);
    if (verdict->drop_sessions || verdict->remove || verdict->exchange)
        each_slot(drop_sessions);
    if (verdict->exchange)
        exchange(verdict);
    if (verdict->logout)
        each_slot(logout);
    (void)pthread_rwlock_unlock(&calls_under_way);
}

static ck_rv_t settle(enum function function, const struct rule *verdict, ck_rv_t rv)
{
    (void)pthread_mutex_lock(&lock);
    if (function == INDEX_C_OpenSession)
        sessions_opening--;
    if (rv == CKR_OK && function == INDEX_C_OpenSession)
        sessions_open++;
    if (rv == CKR_OK && function == INDEX_C_CloseSession)
        sessions_open--;
    if (rv == CKR_OK && function == INDEX_C_Finalize)
        sessions_open = 0;
    (void)pthread_mutex_unlock(&lock);
    return verdict->answers ? verdict->rv : rv;
}

#define FIRST(first, ...) (unsigned long)(first)
#define FORWARD(name, real_function, parameters, arguments)                                        \
    static ck_rv_t fault_##name parameters                                                         \
    {                                                                                              \
        struct rule verdict = judge(INDEX_##name, FIRST arguments);                                \
        ck_rv_t rv = verdict.rv;                                                                   \
                                                                                                   \
        prepare(&verdict);                                                                         \
        lie = calls_real(&verdict) ? verdict.lie : (struct lie){ 0 };                              \
        if (calls_real(&verdict)) {                                                                \
            (void)pthread_rwlock_rdlock(&calls_under_way);                                         \
            rv = real_function arguments;                                                          \
            (void)pthread_rwlock_unlock(&calls_under_way);                                         \
            rv = settle(INDEX_##name, &verdict, rv);                                               \
        }                                                                                          \
        leave(INDEX_##name);                                                                       \
        return rv;                                                                                 \
    }

#define F(name, parameters, arguments) FORWARD(name, placed.name, parameters, arguments)
#include "functions.h"
#undef F

/* A function of the real module's newer list; NULL where it has none. */
static void (*newer_of_real(unsigned place))(void)
{
    bool has = real_3 != NULL && (place < NEWER_IN_3_0 || real_3->v2_40.version.minor >= 2);

    return has ? real_3->newer[place] : NULL;
}

/* The functions that the real module may not have. */
#define F(name, place, parameters, arguments)                                                      \
    static ck_rv_t placed_##name parameters                                                        \
    {                                                                                              \
        ck_rv_t(*function) parameters = (ck_rv_t(*) parameters)newer_of_real(place);               \
                                                                                                   \
        return function != NULL ? function arguments : CKR_FUNCTION_NOT_SUPPORTED;                 \
    }
#include "functions_3.h"
#undef F

#define F(name, place, parameters, arguments) FORWARD(name, placed_##name, parameters, arguments)
#include "functions_3.h"
#undef F

static bool is_removed(void)
{
    bool is;

    (void)pthread_mutex_lock(&lock);
    is = removed;
    (void)pthread_mutex_unlock(&lock);
    return is;
}

/* What the lie has, in the place of what is so. */
static void say(const struct number *number, unsigned long *what)
{
    switch (number->how) {
    case INSTEAD:
        *what = number->value;
        break;
    case MORE:
        *what += number->value;
        break;
    case LESS:
        *what -= number->value;
        break;
    default:
        break;
    }
}

static ck_rv_t find_objects(ck_session_handle_t session, ck_object_handle_t *objects,
                            unsigned long most, unsigned long *count)
{
    static atomic_ulong last = 0x10000;
    ck_rv_t rv = fault_C_FindObjects(session, objects, most, count);

    say(&lie.count, count);
    if (lie.endless != ENDS)
        for (*count = 0; *count < most; (*count)++)
            objects[*count] = lie.endless == ENDLESS_NEW ? atomic_fetch_add(&last, 1) : *count + 1;
    return rv;
}

/* Those before the one that FAULT_STOPS names, which the token does not know. */
static unsigned long known_attributes(const struct ck_attribute *list, unsigned long count)
{
    const char *stops = getenv("FAULT_STOPS");
    unsigned long type = stops != NULL ? strtoul(stops, NULL, 16) : 0, known = 0;

    while (known < count && (stops == NULL || list[known].type != type))
        known++;
    return known;
}

static ck_rv_t get_attribute_value(ck_session_handle_t session, ck_object_handle_t object,
                                   struct ck_attribute *list, unsigned long count)
{
    unsigned long known = known_attributes(list, count);
    ck_rv_t rv = fault_C_GetAttributeValue(session, object, list, known);

    for (unsigned long i = 0; i < known; i++)
        if (!lie.one || lie.of == list[i].type)
            say(&lie.len, &list[i].value_len);
    return known < count ? CKR_ATTRIBUTE_TYPE_INVALID : rv;
}

/* The functions with an input, an output and its length. */
#define WORK(function)                                                                             \
    static ck_rv_t work_##function(ck_session_handle_t session, unsigned char *in,                 \
                                   unsigned long in_len, unsigned char *out, unsigned long *len)   \
    {                                                                                              \
        ck_rv_t rv = fault_##function(session, in, in_len, out, len);                              \
                                                                                                   \
        say(&lie.len, len);                                                                        \
        return rv;                                                                                 \
    }

static ck_rv_t encapsulate_key(ck_session_handle_t session, struct ck_mechanism *mechanism,
                               ck_object_handle_t key, struct ck_attribute *list,
                               unsigned long count, unsigned char *out, unsigned long *len,
                               ck_object_handle_t *secret)
{
    ck_rv_t rv = fault_C_EncapsulateKey(session, mechanism, key, list, count, out, len, secret);

    say(&lie.len, len);
    return rv;
}

WORK(C_Sign)
WORK(C_Encrypt)
WORK(C_Decrypt)

static bool has_rsa_aes(ck_mechanism_type_t type)
{
    bool has;

    (void)pthread_mutex_lock(&lock);
    has = rsa_aes && type == CKM_RSA_AES_KEY_WRAP_;
    (void)pthread_mutex_unlock(&lock);
    return has;
}

/* CKM_RSA_AES_KEY_WRAP, PKCS#11 v3.1 §6.1.23: an AES key by OAEP, and behind it the key by that. */
static ck_rv_t wrap_both(ck_session_handle_t session, const struct rsa_aes_params *params,
                         ck_object_handle_t with, ck_object_handle_t key, unsigned char *out,
                         unsigned long *len)
{
    struct ck_mechanism make = { CKM_AES_KEY_GEN, NULL, 0 },
                        outer = { CKM_RSA_PKCS_OAEP, params->oaep, OAEP_PARAMS_LEN },
                        inner = { CKM_AES_KEY_WRAP_PAD_, NULL, 0 };
    unsigned long bytes = params->aes_bits / 8, first = *len, rest = 0;
    struct ck_attribute list[] = { { CKA_VALUE_LEN, &bytes, sizeof(bytes) },
                                   { CKA_EXTRACTABLE, &yes, 1 },
                                   { CKA_WRAP, &yes, 1 } };
    ck_object_handle_t middle;
    ck_rv_t rv = real->C_GenerateKey(session, &make, list, 3, &middle);

    if (rv != CKR_OK)
        return rv;
    rv = real->C_WrapKey(session, &outer, with, middle, out, &first);
    if (rv == CKR_OK && out != NULL)
        rest = *len - first;
    if (rv == CKR_OK)
        rv = real->C_WrapKey(session, &inner, middle, key, out != NULL ? out + first : NULL, &rest);
    *len = first + rest;
    (void)real->C_DestroyObject(session, middle);
    return rv;
}

static ck_rv_t unwrap_both(ck_session_handle_t session, const struct rsa_aes_params *params,
                           ck_object_handle_t with, unsigned char *in, unsigned long len,
                           struct ck_attribute *list, unsigned long count, ck_object_handle_t *key)
{
    struct ck_mechanism outer = { CKM_RSA_PKCS_OAEP, params->oaep, OAEP_PARAMS_LEN },
                        inner = { CKM_AES_KEY_WRAP_PAD_, NULL, 0 };
    struct ck_attribute modulus = { CKA_MODULUS, NULL, 0 };
    unsigned long class = CKO_SECRET_KEY, type = CKK_AES;
    struct ck_attribute aes[] = { { CKA_CLASS, &class, sizeof(class) },
                                  { CKA_KEY_TYPE, &type, sizeof(type) },
                                  { CKA_UNWRAP, &yes, 1 } };
    ck_object_handle_t middle;
    ck_rv_t rv = real->C_GetAttributeValue(session, with, &modulus, 1);

    if (rv == CKR_OK && modulus.value_len >= len)
        rv = CKR_WRAPPED_KEY_LEN_RANGE;
    if (rv == CKR_OK)
        rv = real->C_UnwrapKey(session, &outer, with, in, modulus.value_len, aes, 3, &middle);
    if (rv != CKR_OK)
        return rv;
    rv = real->C_UnwrapKey(session, &inner, middle, in + modulus.value_len, len - modulus.value_len,
                           list, count, key);
    (void)real->C_DestroyObject(session, middle);
    return rv;
}

static ck_rv_t unwrap_key(ck_session_handle_t session, struct ck_mechanism *mechanism,
                          ck_object_handle_t with, unsigned char *in, unsigned long len,
                          struct ck_attribute *list, unsigned long count, ck_object_handle_t *key)
{
    if (has_rsa_aes(mechanism->mechanism))
        return unwrap_both(session, mechanism->parameter, with, in, len, list, count, key);
    return fault_C_UnwrapKey(session, mechanism, with, in, len, list, count, key);
}

static ck_rv_t wrap_key(ck_session_handle_t session, struct ck_mechanism *mechanism,
                        ck_object_handle_t with, ck_object_handle_t key, unsigned char *out,
                        unsigned long *len)
{
    ck_rv_t rv = has_rsa_aes(mechanism->mechanism)
                     ? wrap_both(session, mechanism->parameter, with, key, out, len)
                     : fault_C_WrapKey(session, mechanism, with, key, out, len);

    say(&lie.len, len);
    return rv;
}

static ck_rv_t sign_final(ck_session_handle_t session, unsigned char *out, unsigned long *len)
{
    ck_rv_t rv = fault_C_SignFinal(session, out, len);

    say(&lie.len, len);
    return rv;
}

/* Writes what the lie has behind a text of size bytes that is padded with blanks. */
static void say_text(unsigned char *field, size_t size)
{
    size_t len = size;

    while (len > 0 && field[len - 1] == ' ')
        len--;
    for (size_t i = 0; i < lie.text->len && len < size; i++)
        field[len++] = (unsigned char)lie.text->behind[i];
    memset(field + len, lie.text->padding, size - len);
}

/* No slot has a token while they are removed. */
static ck_rv_t get_slot_list(unsigned char token_present, ck_slot_id_t *slots, unsigned long *count)
{
    ck_rv_t rv = fault_C_GetSlotList(token_present, slots, count);

    if (rv == CKR_OK && token_present && is_removed())
        *count = 0;
    say(&lie.count, count);
    return rv;
}

static ck_rv_t get_token_info(ck_slot_id_t slot, struct ck_token_info *info)
{
    ck_rv_t rv = fault_C_GetTokenInfo(slot, info);

    (void)pthread_mutex_lock(&lock);
    if (rv == CKR_OK && memcmp(info->label, flags_label, strlen(flags_label)) == 0)
        info->flags |= token_flags;
    (void)pthread_mutex_unlock(&lock);
    if (rv == CKR_OK && lie.text != NULL) {
        say_text(info->label, sizeof(info->label));
        say_text(info->manufacturer_id, sizeof(info->manufacturer_id));
        say_text(info->model, sizeof(info->model));
        say_text(info->serial_number, sizeof(info->serial_number));
    }
    return rv;
}

static ck_rv_t get_slot_info(ck_slot_id_t slot, struct ck_slot_info *info)
{
    ck_rv_t rv = fault_C_GetSlotInfo(slot, info);

    (void)pthread_mutex_lock(&lock);
    if (rv == CKR_OK)
        info->flags |= slot_flags;
    (void)pthread_mutex_unlock(&lock);
    return rv;
}

static ck_rv_t get_mechanism_info(ck_slot_id_t slot, ck_mechanism_type_t type,
                                  struct ck_mechanism_info *info)
{
    ck_rv_t rv = fault_C_GetMechanismInfo(slot, type, info);

    if (has_rsa_aes(type)) {
        *info = (struct ck_mechanism_info){ 0, 0, CKF_WRAP | CKF_UNWRAP };
        rv = CKR_OK;
    }
    if (lie.has_flags)
        *info = (struct ck_mechanism_info){ CK_UNAVAILABLE_INFORMATION, 0, lie.flags };
    (void)pthread_mutex_lock(&lock);
    if (rv == CKR_OK && type == hidden)
        rv = CKR_MECHANISM_INVALID;
    (void)pthread_mutex_unlock(&lock);
    return rv;
}

/* What the real module is to decrypt with: where that is hidden, something that it does not have.
 */
static ck_mechanism_type_t decrypts_with(ck_mechanism_type_t type)
{
    ck_mechanism_type_t with;

    (void)pthread_mutex_lock(&lock);
    with = type == hidden                     ? CKM_VENDOR_DEFINED
           : type == CKM_RSA_PKCS && unpadded ? CKM_RSA_X_509
                                              : type;
    (void)pthread_mutex_unlock(&lock);
    return with;
}

static ck_rv_t decrypt_init(ck_session_handle_t session, struct ck_mechanism *mechanism,
                            ck_object_handle_t key)
{
    struct ck_mechanism with = *mechanism;

    with.mechanism = decrypts_with(with.mechanism);
    return fault_C_DecryptInit(session, &with, key);
}

static struct ck_function_list complete = {
    .version = { 2, 40 },
#define F(name, parameters, arguments) .name = fault_##name,
#include "functions.h"
#undef F
};

static void (*complete_3[36])(void) = {
#define F(name, place, parameters, arguments) [place] = (void (*)(void))fault_##name,
#include "functions_3.h"
#undef F
};

static struct list_3 faulty_3 = { .v2_40 = { .version = { 3, 2 } } };
#define faulty faulty_3.v2_40

static void list_function(void *entry, const void *function, size_t size)
{
    if (memcmp(entry, function, size) != 0)
        memcpy(entry, function, size);
}

/* Under the lock. What stays as it is is not written: others read it without. */
static void list_functions(void)
{
    struct ck_function_list wanted = complete;
    void (*wanted_3)(void);

    wanted.C_GetFunctionList = C_GetFunctionList;
#define F(name, parameters, arguments)                                                             \
    if (lacks[INDEX_##name])                                                                       \
        wanted.name = NULL;                                                                        \
    list_function(&faulty.name, &wanted.name, sizeof(wanted.name));
#include "functions.h"
#undef F
#define F(name, place, parameters, arguments)                                                      \
    wanted_3 = lacks[INDEX_##name] ? NULL : complete_3[place];                                     \
    list_function(&faulty_3.newer[place], &wanted_3, sizeof(wanted_3));
#include "functions_3.h"
#undef F
    if (faulty.C_GetFunctionList == NULL) {
        faulty.version = wanted.version;
        faulty.C_GetFunctionList = wanted.C_GetFunctionList;
    }
}

struct interface {
    unsigned char *name;
    void *functions;
    unsigned long flags;
};

typedef ck_rv_t get_interface(unsigned char *name, struct ck_version *version,
                              struct interface **out, unsigned long flags);

/* The newest list that the real module has of v3.2 and v3.0. */
static void open_real_3(void *library)
{
    unsigned char name[] = "PKCS 11";
    struct ck_version versions[] = { { 3, 2 }, { 3, 0 } };
    get_interface *get = NULL;
    struct interface *found;

    *(void **)&get = dlsym(library, "C_GetInterface");
    for (unsigned i = 0; get != NULL && real_3 == NULL && i < 2; i++)
        if (get(name, &versions[i], &found, 0) == CKR_OK)
            real_3 = found->functions;
}

static void open_real(void)
{
    const char *path = getenv("FAULT_MODULE"), *text = getenv("FAULT_RULES");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = NULL;

    if (library != NULL)
        open_real_3(library);
    if (library != NULL)
        *(void **)&get = dlsym(library, "C_GetFunctionList");
    if (real_3 != NULL)
        real = &real_3->v2_40;
    else if (get == NULL || get(&real) != CKR_OK)
        real = NULL;
    if (real != NULL)
        place_tokens();
    complete_3[24] = (void (*)(void))encapsulate_key;
    complete.C_GetSlotList = get_slot_list;
    complete.C_GetTokenInfo = get_token_info;
    complete.C_GetSlotInfo = get_slot_info;
    complete.C_GetMechanismInfo = get_mechanism_info;
    complete.C_DecryptInit = decrypt_init;
    complete.C_FindObjects = find_objects;
    complete.C_GetAttributeValue = get_attribute_value;
    complete.C_Sign = work_C_Sign;
    complete.C_SignFinal = sign_final;
    complete.C_WrapKey = wrap_key;
    complete.C_UnwrapKey = unwrap_key;
    complete.C_Encrypt = work_C_Encrypt;
    complete.C_Decrypt = work_C_Decrypt;
    (void)pthread_mutex_lock(&lock);
    list_functions();
    if (text != NULL)
        set_rules(text);
    (void)pthread_mutex_unlock(&lock);
}

static void open_real_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, open_real);
}

EXPORT get_interface C_GetInterface;

/* The interfaces that the real module has, but for what FAULT_INTERFACE says:
 *     none      an error
 *     unnamed   without a name
 *     empty     without a list
 *     old       the list is of v2.40, whatever was asked for
 *     other     it is another interface's
 * Who names no version (p11-kit 0.25, which gives a module up that has an error for it) gets the
 * list of v2.40 of a module that has no newer one. */
ck_rv_t C_GetInterface(unsigned char *name, struct ck_version *version, struct interface **out,
                       unsigned long flags)
{
    static struct interface interface = { (unsigned char *)"PKCS 11", &faulty_3, 0 };
    static struct interface oldest = { (unsigned char *)"PKCS 11", &faulty, 0 };
    const char *lies = getenv("FAULT_INTERFACE");

    (void)name;
    (void)flags;
    open_real_once();
    if (version == NULL && real_3 == NULL && real != NULL) {
        *out = &oldest;
        return CKR_OK;
    }
    if (version == NULL || real_3 == NULL || version->minor != real_3->v2_40.version.minor ||
        (lies != NULL && strcmp(lies, "none") == 0))
        return CKR_FUNCTION_FAILED;
    faulty.version = real_3->v2_40.version;
    if (lies != NULL && strcmp(lies, "unnamed") == 0)
        interface.name = NULL;
    if (lies != NULL && strcmp(lies, "other") == 0)
        interface.name = (unsigned char *)"Vendor NSS";
    if (lies != NULL && strcmp(lies, "empty") == 0)
        interface.functions = NULL;
    if (lies != NULL && strcmp(lies, "old") == 0)
        faulty.version = complete.version;
    *out = &interface;
    return CKR_OK;
}

EXPORT ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    open_real_once();
    *list = &faulty;
    return real != NULL ? CKR_OK : CKR_GENERAL_ERROR;
}

EXPORT void fault_rules(const char *text);
EXPORT void fault_callback(void (*function)(void));
EXPORT unsigned long count_calls(const char *name);
EXPORT void count_reset(void);
EXPORT unsigned long count_overlaps(void);
EXPORT unsigned long count_sessions(void);

/* Puts these rules in the place of the ones before; "" for none, and the tokens are back. */
void fault_rules(const char *text)
{
    (void)pthread_mutex_lock(&lock);
    removed = false;
    set_rules(text);
    (void)pthread_mutex_unlock(&lock);
}

void fault_callback(void (*function)(void))
{
    callback = function;
}

/* How often name was called since the last reset, or all functions where name is NULL. */
unsigned long count_calls(const char *name)
{
    unsigned long sum = 0;

    for (size_t i = 0; i < FUNCTIONS; i++)
        if (name == NULL || strcmp(names[i], name) == 0)
            sum += atomic_load(&counts[i]);
    return sum;
}

void count_reset(void)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        atomic_store(&counts[i], 0);
    (void)pthread_mutex_lock(&lock);
    overlaps = 0;
    (void)pthread_mutex_unlock(&lock);
}

/* How many sessions are open that were opened through this module. */
unsigned long count_sessions(void)
{
    unsigned long count;

    (void)pthread_mutex_lock(&lock);
    count = (unsigned long)sessions_open;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

unsigned long count_overlaps(void)
{
    unsigned long count;

    (void)pthread_mutex_lock(&lock);
    count = overlaps;
    (void)pthread_mutex_unlock(&lock);
    return count;
}

__attribute__((destructor)) static void write_counts(void)
{
    const char *path = getenv("FAULT_COUNTS");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;

    for (size_t i = 0; file != NULL && i < FUNCTIONS; i++)
        if (atomic_load(&counts[i]) != 0)
            (void)fprintf(file, "%s %lu\n", names[i], atomic_load(&counts[i]));
    if (file != NULL)
        (void)fclose(file);
}

__attribute__((constructor)) static void touch(void)
{
    const struct timespec times[2] = { { 0, 0 }, { 0, 0 } };
    const char *path = getenv("FAULT_TOUCH");

    if (path != NULL)
        (void)utimensat(AT_FDCWD, path, times, 0);
}

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("FAULT_LOADS");

    if (path != NULL) {
        (void)close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        (void)usleep(500000);
    }
    loaded = true;
}
