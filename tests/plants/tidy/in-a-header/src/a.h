/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
int a(int first);
