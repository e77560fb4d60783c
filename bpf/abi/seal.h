/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The last word of values that programs read while the daemon replaces them. */
#pragma once

/*
 * A struct that ends with `__u32 seal` is as long as a multiple of 8 bytes. Its seal is made of the words of
 * 64 bits, the seal itself taken for zero: of each word the exclusive or with its upper half, moved down,
 * times SEAL_FACTOR to the power of the word's place; of their sum modulo 2^64 the upper half.
 * src/datapath/abi/seal.ts writes it, lib/sealed.h says what it is for.
 */
enum seal {
	SEAL_FACTOR = 0x5851f42d,
	SEAL_PLACE =
	    3, /* of the first word: smaller powers would not move small changes into the upper half */
};
