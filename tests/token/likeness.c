#include "likeness.h"

#include <fnmatch.h>

#include <openssl/err.h>

/* splitmix64: the numbers of its constants are Vigna's, in the public domain */
static uint64_t lot(struct lane *lane)
{
    uint64_t z = lane->lots += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

unsigned draw(struct lane *lane, unsigned count)
{
    return (unsigned)(lot(lane) >> 33) % count;
}

void draw_bytes(struct lane *lane, unsigned char *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)lot(lane);
}

void note_text(struct lane *lane, const char *what, const char *text)
{
    struct note *next = &lane->notes[lane->noted];

    assert_true(lane->noted < COUNT_OF(lane->notes));
    lane->noted++;
    snprintf(next->what, sizeof(next->what), "%s", what);
    snprintf(next->value, sizeof(next->value), "%s", text);
}

void note(struct lane *lane, const char *what, long value)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", value);
    note_text(lane, what, text);
}

void note_bytes(struct lane *lane, const char *what, const void *bytes, size_t len)
{
    const unsigned char *byte = bytes;
    uint64_t hash = 0xcbf29ce484222325U; /* FNV-1a */
    char text[72];
    int at = snprintf(text, sizeof(text), "%zu bytes ", len);

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3U;
    at += snprintf(text + at, sizeof(text) - (size_t)at, "%016llx ", (unsigned long long)hash);
    for (size_t i = 0; i < len && i < 8; i++)
        at += snprintf(text + at, sizeof(text) - (size_t)at, "%02x", byte[i]);
    note_text(lane, what, text);
}

int note_call(struct lane *lane, const char *function, int returned)
{
    char text[32];

    snprintf(text, sizeof(text), "%d%s", returned, ERR_peek_error() != 0 ? ", errors" : "");
    note_text(lane, function, text);
    if (getenv("BRIDGE_LIKENESS_ERRORS") != NULL)
        ERR_print_errors_fp(stderr);
    ERR_clear_error();
    return returned;
}

struct room room_draw(struct lane *lane, size_t enough)
{
    const size_t sizes[] = { enough, enough, enough, enough + 100, enough - 1, 1, 0 };
    struct room room = { NULL, DRAW_OF(lane, sizes) };

    note(lane, "room", (long)room.size);
    if (draw(lane, 6) != 0)
        room.out = malloc(room.size + (room.size == 0));
    return room;
}

bool room_filled(struct lane *lane, int ret, const struct room *room, size_t len)
{
    if (ret == 1 && room->out == NULL)
        note(lane, "size", (long)len);
    return ret == 1 && room->out != NULL;
}

static bool matches(const char *pattern, const char *text)
{
    return pattern == NULL || fnmatch(pattern, text, 0) == 0;
}

static bool is_of_now(const struct difference *row, const struct lane *lane)
{
    char now[128];

    snprintf(now, sizeof(now), "%s%s", lane->twin->name, lane->state);
    return (row->before == 0 || OpenSSL_version_num() < row->before) &&
           (matches(row->keys, lane->twin->name) || matches(row->keys, now)) &&
           (row->given == NULL || strstr(lane->path, row->given) != NULL);
}

static const struct difference *difference_find(const struct lane lanes[SIDES], size_t at,
                                                const struct difference *row)
{
    const struct note *software = &lanes[SOFTWARE].notes[at], *token = &lanes[TOKEN].notes[at];

    for (; row->reason != NULL; row++)
        if (is_of_now(row, &lanes[TOKEN]) && matches(row->what, token->what) &&
            matches(row->software, software->value) && matches(row->token, token->value))
            return row;
    return NULL;
}

static void row_tell(const struct lane lanes[SIDES], size_t at, const struct difference *row)
{
    const struct note *software = &lanes[SOFTWARE].notes[at], *token = &lanes[TOKEN].notes[at];

    if (getenv("BRIDGE_LIKENESS_ROWS") != NULL)
        printf("row %td: %s%s: %s: %s / %s (%s)\n", row - likeness_differences,
               lanes[TOKEN].twin->name, lanes[TOKEN].state, token->what, software->value,
               token->value, row->reason);
}

#define FINDINGS_MAX 200

static struct finding {
    char name[96];
    struct note software, token;
    unsigned long count;
} found[FINDINGS_MAX];
static unsigned long found_count;

unsigned long findings(void)
{
    return found_count;
}

static bool is_new(const struct lane lanes[SIDES], size_t at)
{
    const struct note *software = &lanes[SOFTWARE].notes[at], *token = &lanes[TOKEN].notes[at];
    char name[96];
    size_t i = 0;

    snprintf(name, sizeof(name), "%s%s", lanes[TOKEN].twin->name, lanes[TOKEN].state);
    while (i < FINDINGS_MAX && found[i].count != 0 &&
           (strcmp(found[i].name, name) != 0 || strcmp(found[i].token.what, token->what) != 0 ||
            strcmp(found[i].token.value, token->value) != 0 ||
            strcmp(found[i].software.value, software->value) != 0))
        i++;
    if (i == FINDINGS_MAX || found[i].count++ != 0)
        return false;
    memcpy(found[i].name, name, sizeof(name));
    found[i].software = *software;
    found[i].token = *token;
    return true;
}

/* Remembers a finding, and tells of it when it is new. */
static void finding_add(const struct lane lanes[SIDES], size_t at, uint64_t seed)
{
    const struct note *software = &lanes[SOFTWARE].notes[at], *token = &lanes[TOKEN].notes[at];

    found_count++;
    if (is_new(lanes, at))
        printf("%s%s, BRIDGE_LIKENESS=\"%llu 1\":\n  software: %s: %s\n  token:    %s: %s\n  after "
               "%s\n",
               lanes[TOKEN].twin->name, lanes[TOKEN].state, (unsigned long long)seed,
               software->what, software->value, token->what, token->value, lanes[TOKEN].path);
}

/* Whether the notes there are the same. */
static bool is_alike(const struct lane lanes[SIDES], size_t at)
{
    const struct note *software = &lanes[SOFTWARE].notes[at], *token = &lanes[TOKEN].notes[at];

    return strcmp(software->what, token->what) == 0 && strcmp(software->value, token->value) == 0;
}

bool likeness_compare(const struct lane lanes[SIDES], const struct difference *differences,
                      uint64_t seed)
{
    bool goes_on =
        lanes[SOFTWARE].lots == lanes[TOKEN].lots && !lanes[SOFTWARE].over && !lanes[TOKEN].over;

    for (size_t i = 0; i < NOTES_MAX; i++) {
        const struct difference *known;

        if (is_alike(lanes, i))
            continue;
        known = difference_find(lanes, i, differences);
        if (known == NULL)
            finding_add(lanes, i, seed);
        else
            row_tell(lanes, i, known);
        goes_on = goes_on && known != NULL && !known->ends;
        if (known == NULL || known->ends)
            break;
    }
    return goes_on;
}
