/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What queues of ours are called; read by the addon, too. */
#pragma once

/* Handle of one that lets frames go by their departure times (sch_fq), and of a token bucket (sch_tbf). */
#define DEPARTURE_QUEUE_HANDLE 0x716f0000
#define TOKEN_BUCKET_HANDLE    0x716e0000
