"""The version of sbmrl."""

VERSION = "0.2.0"
