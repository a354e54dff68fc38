#!/usr/bin/python3
# SPDX-License-Identifier: MIT
def messages_arrive():
    assert False


def messages_arrive():
    assert True


messages_arrive()
