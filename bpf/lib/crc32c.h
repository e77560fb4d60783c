/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What a change of a few bytes means for a CRC32c (RFC 9260 Appendix A), without a look at the rest of the
 * message. The CRC is linear over GF(2): the difference of two messages' CRCs is the CRC, without start and
 * final inversion, of their difference, which is zero after the bytes that changed; and a zero byte is a
 * multiplication by x^8 modulo the polynomial.
 */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define CRC32C_POLYNOMIAL 0x82f63b78 /* bits reversed: the highest bit is x^0 */

/* a * b modulo the polynomial. Without branches, which the verifier would follow two ways each. */
__attribute__((noinline)) __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;

	for (int bit = 31; bit >= 0; bit--) {
		product ^= b & (0 - ((a >> bit) & 1));
		b = (b >> 1) ^ (CRC32C_POLYNOMIAL & (0 - (b & 1)));
	}
	return product;
}

/* value if the bit of length is set, times x to the power that this bit of a number of bytes stands for. */
static __always_inline __u32 crc32c_step(__u32 value, __u32 length, int bit, __u32 power)
{
	return length & (1U << bit) ? crc32c_multiply(power, value) : value;
}

/*
 * How the CRC of a message of that length (bytes, at most 65535) changes when its first four bytes change by
 * difference (exclusive or, the first byte lowest).
 */
static __always_inline __u32 crc32c_difference(__u32 difference, __u32 length)
{
	__u32 value = difference;

	/* x^(8 * 2^n) */
	value = crc32c_step(value, length, 0, 0x00800000);
	value = crc32c_step(value, length, 1, 0x00008000);
	value = crc32c_step(value, length, 2, 0x82f63b78);
	value = crc32c_step(value, length, 3, 0x6ea2d55c);
	value = crc32c_step(value, length, 4, 0x18b8ea18);
	value = crc32c_step(value, length, 5, 0x510ac59a);
	value = crc32c_step(value, length, 6, 0xb82be955);
	value = crc32c_step(value, length, 7, 0xb8fdb1e7);
	value = crc32c_step(value, length, 8, 0x88e56f72);
	value = crc32c_step(value, length, 9, 0x74c360a4);
	value = crc32c_step(value, length, 10, 0xe4172b16);
	value = crc32c_step(value, length, 11, 0x0d65762a);
	value = crc32c_step(value, length, 12, 0x35d73a62);
	value = crc32c_step(value, length, 13, 0x28461564);
	value = crc32c_step(value, length, 14, 0xbf455269);
	return crc32c_step(value, length, 15, 0xe2ea32dc);
}
