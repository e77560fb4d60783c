/* SPDX-License-Identifier: MIT */
/* The parts of the network half of the addon; net_addon.cc registers them. */
#pragma once

#include <napi.h>

void define_netns(Napi::Env env, Napi::Object exports);
void define_links(Napi::Env env, Napi::Object exports);
void define_addresses(Napi::Env env, Napi::Object exports);
void define_routes(Napi::Env env, Napi::Object exports);
void define_route_lists(Napi::Env env, Napi::Object exports);
void define_neighbours(Napi::Env env, Napi::Object exports);
void define_watch(Napi::Env env, Napi::Object exports);
void define_queues(Napi::Env env, Napi::Object exports);
void define_ethtool(Napi::Env env, Napi::Object exports);
void define_sockdiag(Napi::Env env, Napi::Object exports);
