/* SPDX-License-Identifier: MIT */
/* One registration function per noun; each defines its functions on exports (types:
 * src/native/bpf/functions.ts). */
#pragma once

#include <napi.h>

void init_bpf_object(Napi::Env env, Napi::Object exports);
void init_bpf_program(Napi::Env env, Napi::Object exports);
void init_bpf_map(Napi::Env env, Napi::Object exports);
void init_bpf_map_batch(Napi::Env env, Napi::Object exports);
void init_bpf_link(Napi::Env env, Napi::Object exports);
void init_bpf_clsact(Napi::Env env, Napi::Object exports);
void init_bpf_ringbuf(Napi::Env env, Napi::Object exports);
