"""Loaded once by the process that ranks are forked from: what each of them would else spend seconds on."""

import importlib

from ddp_worker import items

importlib.import_module("torch._dynamo")  # every optimizer loads it
items()
