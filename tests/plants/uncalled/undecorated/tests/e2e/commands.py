#!/usr/bin/python3
# SPDX-License-Identifier: MIT
TESTS = []


def test(function):
    TESTS.append(function)
    return function


@test
def messages_arrive():
    assert True


def nobody_notices():
    assert False


for function in TESTS:
    function()
