"""The version of sbmrl, and when this process imported it."""

import time

VERSION = "0.2.0"
IMPORTED = time.time()  # the first module of all: a file that is changed later is not what runs
