"""The version of sbmrl."""

VERSION = "0.1.0"
