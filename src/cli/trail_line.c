#include "cli/trail_line.h"

#include <string.h>

static bool starts(struct view text, const char *with)
{
    size_t len = strlen(with);

    return text.len >= len && memcmp(text.data, with, len) == 0;
}

static bool skip(struct view *rest, char byte)
{
    if (rest->len == 0 || rest->data[0] != (uint8_t)byte)
        return false;
    rest->data++;
    rest->len--;
    return true;
}

/* A string, of which *out is what is between its quotes, escapes and all. */
static bool read_string(struct view *rest, struct view *out)
{
    if (!skip(rest, '"'))
        return false;
    *out = (struct view){ rest->data, 0 };
    while (rest->len != 0 && rest->data[0] != '"' && rest->data[0] >= ' ') {
        size_t step = rest->data[0] == '\\' ? 2 : 1;

        if (rest->len < step)
            return false;
        rest->data += step;
        rest->len -= step;
        out->len += step;
    }
    return skip(rest, '"');
}

/* False also where it is more than 64 bits hold: the session of a token may be any number of them.
 */
static bool read_number(struct view *rest, uint64_t *out)
{
    bool any = false;

    *out = 0;
    while (rest->len != 0 && rest->data[0] >= '0' && rest->data[0] <= '9') {
        const uint64_t unit = rest->data[0] - (uint64_t)'0';

        if (*out > (UINT64_MAX - unit) / 10)
            return false;
        *out = *out * 10 + unit;
        rest->data++;
        rest->len--;
        any = true;
    }
    return any;
}

static int digit(uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = byte != 0 ? strchr(digits, byte) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static bool read_link(struct view text, uint8_t *link)
{
    if (text.len != 2UL * HMAC_LEN)
        return false;
    for (size_t i = 0; i < HMAC_LEN; i++) {
        int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        link[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* What has been seen of a link. */
struct seen {
    bool number, link;
};

static bool is(struct view key, const char *name)
{
    return key.len == strlen(name) && starts(key, name);
}

static bool read_text(struct view *rest, struct view key, struct trail_line *out, struct seen *seen)
{
    struct view value;

    if (!read_string(rest, &value))
        return false;
    if (is(key, "operation"))
        out->end = is(value, "end");
    else if (is(key, "chain"))
        out->chain = value;
    else if (is(key, "link"))
        seen->link = read_link(value, out->link);
    return seen->link || !is(key, "link");
}

static bool read_member(struct view *rest, struct trail_line *out, struct seen *seen)
{
    struct view key;
    uint64_t number;

    if (!read_string(rest, &key) || !skip(rest, ':') || seen->link) /* it is the last */
        return false;
    if (is(key, "link"))
        out->text.len = (size_t)(key.data - out->text.data) - 2; /* ," */
    if (rest->len != 0 && rest->data[0] == '"')
        return read_text(rest, key, out, seen);
    if (is(key, "link") || !read_number(rest, &number))
        return false;
    if (is(key, "n")) {
        out->number = number;
        seen->number = true;
    }
    return true;
}

bool trail_line_read(struct view line, struct trail_line *out)
{
    struct view rest = line;
    struct seen seen = { false, false };
    bool ok = skip(&rest, '{');

    *out = (struct trail_line){ .text = line };
    while (ok && !skip(&rest, '}'))
        ok = read_member(&rest, out, &seen) &&
             (skip(&rest, ',') ? rest.len != 0 && rest.data[0] == '"'
                               : rest.len != 0 && rest.data[0] == '}');
    return ok && rest.len == 0 && seen.link == (out->chain.data != NULL) &&
           seen.link == seen.number;
}
