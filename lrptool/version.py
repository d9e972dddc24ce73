"""The version of lrptool."""

VERSION = "0.1.0"
