/* SPDX-License-Identifier: MIT */
#pragma once

#include <napi.h>

struct rtnl_link;

/* What a link is like, as JavaScript sees it (LinkInfo of net-types.ts). */
Napi::Object link_info(Napi::Env env, rtnl_link *link);
