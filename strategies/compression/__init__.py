"""Compression of messages: options, codecs, and the wrappers that apply them to any algorithm."""
