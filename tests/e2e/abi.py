#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""abi.py LIBRARY: libconfab from another language: messages written in place, received, released; the end; a failure in words."""
import ctypes
import os
import sys


class Message(ctypes.Structure):  # struct confab_message
    _fields_ = [("size", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("data", ctypes.c_void_p), ("data_len", ctypes.c_uint64),
                ("iov", ctypes.c_void_p), ("n_iov", ctypes.c_uint32), ("n_descriptors", ctypes.c_uint32),
                ("descriptors", ctypes.c_void_p), ("peer", ctypes.c_void_p), ("type", ctypes.c_int64),
                ("priority", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("sequence", ctypes.c_uint64),
                ("time_ns", ctypes.c_int64), ("lender", ctypes.c_void_p)]


confab, FOREVER = ctypes.CDLL(sys.argv[1]), ctypes.c_int64(2**63 - 1)
confab.confab_commit.restype, confab.confab_close.restype = ctypes.c_int64, ctypes.c_void_p
ends, room, why = (ctypes.c_void_p * 2)(), ctypes.c_void_p(), ctypes.create_string_buffer(400)
for address in (b"shm://", b"unix://?type=seqpacket", b"pipe://?frame=record"):
    assert confab.confab_pair(ends, address, None) == 0, address
    receiver, sender = map(ctypes.c_void_p, ends)
    got = Message(size=ctypes.sizeof(Message))
    for text in (b"", b"hello", bytes(range(256)) * (1000 if address == b"shm://" else 10)):
        assert confab.confab_claim(sender, ctypes.byref(room), ctypes.c_size_t(len(text)), FOREVER) == 0, address
        ctypes.memmove(room, text, len(text))
        message = Message(size=ctypes.sizeof(Message), data_len=len(text))
        assert confab.confab_commit(sender, ctypes.byref(message), FOREVER) == len(text), address
        assert confab.confab_receive(receiver, ctypes.byref(got), None, FOREVER) == 1, address
        came = ctypes.string_at(got.data, got.data_len) if got.data_len else b""
        assert came == text + os.environ.get("PLANT", "").encode(), (address, len(text), len(came))
        confab.confab_release(receiver, ctypes.byref(got))
    confab.confab_close(sender)
    assert confab.confab_receive(receiver, ctypes.byref(got), None, FOREVER) == 0, address
    confab.confab_close(receiver)
assert confab.confab_pair(ends, b"nothing://", None) < 0
assert confab.confab_explain(why, ctypes.c_size_t(400)) and b"nothing" in why.value, why.value
