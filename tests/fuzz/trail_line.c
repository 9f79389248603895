/* A line of an audit trail: as it comes, and one that this provider wrote, of whatever a token or a
 * configuration has. */
#include "fuzz.h"

#include "audit/chain.h"
#include "audit/line.h"
#include "cli/trail_line.h"

/* What a line with a link has behind its text, but the link. */
#define LINK_HEAD ",\"link\":\""
#define LINK_TAIL "\"}"

static bool lies_in(struct view part, const uint8_t *data, size_t len)
{
    return part.data >= data && part.len <= len && (size_t)(part.data - data) <= len - part.len;
}

static bool read_line(const uint8_t *data, size_t len, struct trail_line *out)
{
    const size_t link_len = strlen(LINK_HEAD LINK_TAIL) + 2UL * HMAC_LEN;

    if (!trail_line_read((struct view){ (uint8_t *)data, len }, out))
        return false;
    hold(out->text.data == data && out->text.len <= len);
    if (out->chain.data == NULL) {
        hold(out->text.len == len);
        return true;
    }
    hold(lies_in(out->chain, data, len) && out->text.len + link_len == len);
    hold(memcmp(data + out->text.len, LINK_HEAD, strlen(LINK_HEAD)) == 0);
    return true;
}

static void add_members(struct line *line, struct input *input)
{
    for (unsigned how; input->len != 0;) {
        size_t len = input_below(input, 600);
        uint8_t *part = input_copy(input, &len, true);

        how = input_byte(input);
        if (how % 4 == 0)
            line_add_text(line, "label", (const char *)part);
        else if (how % 4 == 1)
            line_add_view(line, "uri", (struct view){ part, len });
        else if (how % 4 == 2)
            line_add_hex(line, "id", (struct view){ part, len });
        else
            line_add_number(line, "slot", (uint64_t)how << how % 60);
        free(part);
    }
}

/* What is written is read as the same. */
static void write_and_read(struct input *input)
{
    static struct chain chain;
    const unsigned how = input_byte(input);
    struct line line;
    struct trail_line read;
    char *text;
    size_t len;
    uint8_t link[HMAC_LEN];

    if (chain.name[0] == '\0')
        chain_begin(&chain);
    chain.next = (uint64_t)how << how % 50;
    line_begin(&line, (how & 1) != 0 ? "end" : "sign");
    add_members(&line, input);
    hold(line.len <= sizeof(line.text));
    text = malloc(line.len + CHAIN_ADDS);
    memcpy(text, line.text, line.len);
    len = line.len;
    if ((how & 2) != 0)
        len = chain_add(&chain, text, len, link);
    else
        text[len++] = '}';
    hold(len <= line.len + CHAIN_ADDS && read_line((const uint8_t *)text, len, &read));
    hold(read.end == ((how & 1) != 0) && (read.chain.data != NULL) == ((how & 2) != 0));
    if ((how & 2) != 0)
        hold(read.number == chain.next && memcmp(read.link, link, HMAC_LEN) == 0 &&
             read.chain.len == strlen(chain.name) &&
             memcmp(read.chain.data, chain.name, read.chain.len) == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    struct trail_line line;
    size_t len;
    uint8_t *copy;

    if (size != 0 && data[0] == '{') {
        len = size;
        copy = input_copy(&input, &len, false);
        (void)read_line(copy, len, &line);
        free(copy);
    } else {
        write_and_read(&input);
    }
    return 0;
}
