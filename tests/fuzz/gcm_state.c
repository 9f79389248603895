/* A file of pkcs11-gcm-state: what is taken for one is one, byte for byte, and what is reserved in
 * it goes on from there. */
#include "fuzz.h"

#include "key/gcm_state.h"

static void hold_block(uint64_t reserved, uint64_t limit)
{
    uint64_t size = gcm_block_size(reserved, limit);

    hold(size <= GCM_BLOCK_MOST && (size == 0) == (reserved >= limit));
    hold(size == 0 || size <= limit - reserved);
}

static void hold_record(const uint8_t *text, size_t len)
{
    struct gcm_record record;
    char again[GCM_RECORD_LEN + 1];

    if (!gcm_record_read((struct view){ text, len }, &record))
        return;
    gcm_record_write(&record, again);
    hold(len == GCM_RECORD_LEN && memcmp(again, text, len) == 0);
    hold(record.reserved <= GCM_MOST);
    hold_block(record.reserved, GCM_MOST);
}

/* The check of a record is hard to guess: of what the input says otherwise, it is put right. */
static void hold_written(struct input *input)
{
    struct gcm_record record = { .base = 0 };
    uint8_t *text = malloc(GCM_RECORD_LEN + 1);

    for (unsigned i = 0; i < GCM_ID_LEN; i++)
        record.id[i] = input_byte(input);
    for (unsigned i = 0; i < 8; i++) {
        record.base = record.base << 8 | input_byte(input);
        record.reserved = record.reserved << 8 | input_byte(input);
    }
    hold_block(record.reserved, record.base);
    gcm_record_write(&record, (char *)text);
    hold(gcm_record_read((struct view){ text, GCM_RECORD_LEN }, &record) ==
         (record.reserved <= GCM_MOST));
    if (input->len != 0)
        text[input_below(input, GCM_RECORD_LEN)] = input_byte(input);
    hold_record(text, GCM_RECORD_LEN);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    size_t len = size;
    uint8_t *text = input_copy(&input, &len, false);

    hold_record(text, len);
    input = (struct input){ data, size };
    hold_written(&input);
    free(text);
    return 0;
}
