#include "base/text.h"

#include <string.h>

/* By its first byte: how many bytes the character has, 0 for what begins none. */
static size_t char_len(uint8_t first)
{
    return first < 0x80                    ? 1
           : first >= 0xc2 && first < 0xe0 ? 2
           : first >= 0xe0 && first < 0xf0 ? 3
           : first >= 0xf0 && first < 0xf5 ? 4
                                           : 0;
}

/* The character's number; 0 where the bytes after the first are not those of one. */
static uint32_t char_read(const uint8_t *text, size_t len)
{
    static const uint8_t first_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t number = text[0] & first_bits[len];

    for (size_t i = 1; i < len; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        number = number << 6 | (text[i] & 0x3f);
    }
    return number < least[len] || number > 0x10ffff ? 0 : number;
}

static int is_control(uint32_t number)
{
    return number < 0x20 || (number >= 0x7f && number < 0xa0) ||
           (number >= 0xd800 && number < 0xe000) || number == 0x2028 || number == 0x2029 ||
           (number >= 0x202a && number <= 0x202e) || (number >= 0x2066 && number <= 0x2069);
}

void text_printable(const uint8_t *text, size_t len, char *out)
{
    size_t at = 0;

    while (at < len) {
        size_t n = char_len(text[at]);

        if (n == 0 || n > len - at || is_control(char_read(text + at, n))) {
            out[at++] = '?';
            continue;
        }
        memcpy(out + at, text + at, n);
        at += n;
    }
    out[len] = '\0';
}
