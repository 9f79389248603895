/* Text from a token, on its way to people. */
#ifndef BRIDGE_TEXT_H
#define BRIDGE_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Copies len bytes to out (len + 1 bytes) with a NUL behind them: each byte of a control character,
 * and each that is not UTF-8 (RFC 3629), becomes '?', so that a label can neither steer a terminal
 * nor begin a line of its own in a log. */
void text_printable(const uint8_t *text, size_t len, char *out);

#endif
