/* memcpy and memset byte by byte, which CBMC is quick with where their contents matter. */
#ifndef BRIDGE_PROOF_BYTEWISE_H
#define BRIDGE_PROOF_BYTEWISE_H

#include <stddef.h>
#include <stdint.h>

void *copy_bytes(void *to, const void *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *set_bytes(void *to, int value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

#endif
